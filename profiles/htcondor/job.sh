#!/bin/sh
# Started by HTCondor. If storage plugins are installed, the executor plugin puts `pip install … &&` before the command. Jobs with a shared
# file system do not need it, and HTCondor cannot run it, because it starts jobs without a shell.
case " $* " in *" && "*)
    while [ "$1" != "&&" ]; do shift; done
    shift
    ;;
esac
exec "$@"
