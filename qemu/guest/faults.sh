# Disks that fail and a link that comes and goes, as Linux sees them. BAD and WELL
# (two exports), PAGES (of 4 KiB, that are looked at on both), PAGE (of BAD, the one
# that fails) and RATE (requests a second) are set by the scenario. It says what it
# breaks next, and when that is repaired.

start_aoe

# content EXPORT FIRST COUNT: what shall be in these pages.
content() {
    text $((($2 + $3) * 4096)) "this is $1" | tail -c $(($3 * 4096))
}

# put EXPORT FIRST COUNT: writes it, through to the disk.
put() {
    content "$@" |
        dd of="/dev/etherd/$1" bs=4k seek="$2" iflag=fullblock conv=notrunc,fsync 2>/tmp/dd.log
}

# get EXPORT FIRST COUNT: reads it from the disk, whatever Linux remembers.
get() {
    echo 3 >/proc/sys/vm/drop_caches
    dd if="/dev/etherd/$1" bs=4k skip="$2" count="$3" 2>/tmp/dd.log
}

# is_well EXPORT FIRST COUNT
is_well() {
    same "$1, $3 pages from $2 on" "$(get "$@" | sha256sum)" "$(content "$@" | sha256sum)"
}

# is_eio COMMAND…: it fails, with this error and no other.
is_eio() {
    if "$@" >/tmp/out; then
        fail "this worked, and it should not: $*"
    fi
    grep -q 'I/O error\|Input/output error' /tmp/dd.log || fail "no EIO: $(tail -n 1 /tmp/dd.log)"
}

# nobody_else_noticed: only the one page has failed, and both exports are up. What Linux
# read ahead on its own account (a flag of the request, REQ_RAHEAD) and could not have is
# nobody's loss: it asks again, page by page, for what somebody wants.
nobody_else_noticed() {
    dmesg | grep 'I/O error' | grep -v "$BAD, sector $((PAGE * 8)) \|$BAD, logical block $PAGE," |
        grep -v "$BAD, sector .*(READ) flags 0x8[0-9a-f]\{4\} " >/tmp/others || true
    [ ! -s /tmp/others ] || fail "what else failed: $(head -n 2 /tmp/others | tr '\n' ';')"
    for export in "$BAD" "$WELL"; do
        same "$export" "$(attribute "$export" state)" up
    done
}

for export in "$BAD" "$WELL"; do
    export_up "$export"
    # Nothing is read that nobody asked for.
    echo 0 >"/sys/block/etherd!$export/queue/read_ahead_kb"
    put "$export" 0 "$PAGES"
    is_well "$export" 0 "$PAGES"
done
ok written

for fault in read write flush; do
    told "$fault"
    case $fault in
        read) is_eio get "$BAD" "$PAGE" 1 ;;
        write | flush) is_eio put "$BAD" "$PAGE" 1 ;;
    esac
    is_well "$BAD" 0 "$PAGE"
    is_well "$BAD" $((PAGE + 1)) $((PAGES - PAGE - 1))
    is_well "$WELL" 0 "$PAGES"
    put "$WELL" "$PAGE" 1
    nobody_else_noticed
    ok "$fault-failed"
    told repaired
    put "$BAD" "$PAGE" 1
    is_well "$BAD" 0 "$PAGES"
    ok "$fault-works"
done

dmesg -c >/dev/null
# As many rounds as the link needs to come and go, however long that takes.
rounds() {
    until [ -e /tmp/enough ]; do
        one_round
    done
}
one_round() {
    fio --name=flaps --filename="/dev/etherd/$WELL" --size=8M --rw=randwrite --bs=4k \
        --ioengine=libaio --iodepth=16 --direct=1 --rate_iops="$RATE" \
        --verify=crc32c --verify_fatal=1 --eta=never --output=/tmp/fio.log ||
        fail "fio: $(tail -n 3 /tmp/fio.log | tr '\n' ';')"
}
rounds &
writer=$!
ok writing
told enough
touch /tmp/enough
wait "$writer"
kernel_is_content
same state "$(attribute "$WELL" state)" up
ok verified
