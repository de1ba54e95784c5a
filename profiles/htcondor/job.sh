#!/bin/sh
# What HTCondor starts. Where storage plugins are installed, the plugin puts `pip install … &&` before the command: nothing that jobs with
# a shared file system need, and no line for HTCondor, which starts jobs without a shell.
case " $* " in *" && "*)
    while [ "$1" != "&&" ]; do shift; done
    shift
    ;;
esac
exec "$@"
