# Words that scenario scripts are written in.
#
# A script talks to the scenario in lines that begin with "UBLADE:" and end with
# ":end", so that a line is never taken for whole before it is. Any command that
# fails ends the guest with such a line, the place and the kernel's last words.

set -E -e -u -o pipefail

# ok STEP [VALUE]: this worked, and this is what it gave.
ok() {
    printf 'UBLADE: ok %s :end\n' "$*" >/dev/console
}

# fail SENTENCE: this did not work; nothing after it would mean anything.
fail() {
    trap - ERR
    set +e
    dmesg | tail -n 12 >/dev/console
    printf 'UBLADE: failed %s :end\n' "$*" >/dev/console
    # The host reads the line and ends the machine.
    sleep 10
    poweroff -f
}
trap 'fail "line $LINENO: $BASH_COMMAND"' ERR

# the_end: the script is through.
the_end() {
    ok end
    poweroff -f
    sleep 10
}

# told WORD: waits until the host types this word.
told() {
    local word
    read -r -t 300 word || fail "the host never said $1"
    [ "$word" = "$1" ] || fail "the host said $word and not $1"
}

# within SECONDS COMMAND…: repeats the command until it succeeds.
within() {
    local limit=$1
    shift
    local end=$((SECONDS + limit))
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || fail "not within $limit s: $*"
        sleep 0.1
    done
}

# text BYTES LINE: the line again and again, cut at so many bytes.
text() {
    # The writer is told to stop when there is enough; that is no failure.
    { yes "$2" 2>/dev/null || true; } | head -c "$1"
}

# same WHAT IS SHOULD_BE
same() {
    [ "$2" = "$3" ] || fail "$1 is \"$2\" and not \"$3\""
}

# start_aoe: every card up, then the driver, which asks the network at once.
start_aoe() {
    local card
    for card in /sys/class/net/eth*; do
        ip link set "${card##*/}" up
    done
    insmod /modules/aoe.ko "$@"
    within 10 test -e /dev/etherd/discover
}

# export_up NAME: waits until the driver has made the device and may use it.
export_up() {
    within 30 test -b "/dev/etherd/$1"
    within 30 grep -q '^up' "/sys/block/etherd!$1/state"
}

# attribute NAME FILE: what the driver says of an export.
attribute() {
    cat "/sys/block/etherd!$1/$2"
}

# kernel_is_content: the kernel reported no lost request and no broken file system.
kernel_is_content() {
    local complaints='I/O error|EXT4-fs (error|warning)|aoe:.*(error|fail|closewait)|hung task|blocked for more|BUG:|Oops'
    if dmesg | grep -E "$complaints" >/tmp/complaints; then
        fail "the kernel complains: $(head -n 3 /tmp/complaints | tr '\n' ';')"
    fi
}

# forget_cached: what is read next comes from the disk.
forget_cached() {
    sync
    echo 3 >/proc/sys/vm/drop_caches
}
