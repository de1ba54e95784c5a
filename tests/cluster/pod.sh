#!/bin/sh
# Pods without Kubernetes, for the tests: `pod.sh submit SCRIPT` starts a job and prints its number, `pod.sh status NUMBER` says what
# has become of it, `pod.sh cancel NUMBER` ends it; `pod.sh run FOLDER` runs FOLDER/script with the variables of FOLDER/env, and waits.
# A job sees an empty folder to work in and nothing of the folders in $HIDDEN, and inherits no variable but those of $POD_ENV and PATH.
# All of its processes end with it, for it is the first of a namespace of its own. $PODS is where pods lie.
run() {
    exec unshare --mount --pid --fork --kill-child --mount-proc sh -c '
        for one in $HIDDEN; do mount -t tmpfs none "$one" || exit 1; done
        cd "$0/work" && exec env -i HOME="$0" PATH="$PATH" LANG=C.UTF-8 $POD_ENV $(cat "$0/env" 2>/dev/null) sh ../script' "$1"
}
case $1 in
    run)
        run "$2"
        ;;
    submit)
        number=$(date +%s%N)
        pod=$PODS/$number
        mkdir -p "$pod/work"
        cp "$2" "$pod/script"
        (
            (run "$pod") > "$pod/log" 2>&1 < /dev/null &
            echo $! > "$pod/pid"
            wait $!
            echo $? > "$pod/code"
        ) > /dev/null 2>&1 &
        echo "$number"
        ;;
    status)
        code=$(cat "$PODS/$2/code" 2>/dev/null) || { echo running; exit; }
        [ "$code" = 0 ] && echo success || echo failed
        ;;
    cancel)
        shift
        for number in "$@"; do kill "$(cat "$PODS/$number/pid")"; done
        ;;
esac
