# fio writes a whole export and reads it back while the scenario does its worst.
# EXPORT, SIZE, RATE (requests a second) and PATHS are set by the scenario.

start_aoe
export_up "$EXPORT"
# PATHS is "eth0" or "eth0,eth1": every link over which the export answered, in
# whatever order they did. A link that was not ready when the driver asked first
# has not heard the question, so it is asked again.
paths_are() {
    local links
    links=$(attribute "$EXPORT" netif | tr ',' '\n' | sort | tr '\n' ',')
    [ "$links" = "$PATHS," ] || {
        echo >/dev/etherd/discover
        false
    }
}
within 30 paths_are
ok running "$(attribute "$EXPORT" netif)"

before=$(cut -d ' ' -f 1 /proc/uptime)
fio --name=verify --filename="/dev/etherd/$EXPORT" --size="$SIZE" --rw=randwrite --bs=4k \
    --ioengine=libaio --iodepth=16 --direct=1 --rate_iops="$RATE" \
    --verify=crc32c --verify_fatal=1 --eta=never --output=/tmp/fio.log ||
    fail "fio: $(tail -n 3 /tmp/fio.log | tr '\n' ';')"
after=$(cut -d ' ' -f 1 /proc/uptime)
ok verified "$(awk "BEGIN { print $after - $before }")"

# What was written is still there when nothing of it is remembered.
told again
forget_cached
fio --name=verify --filename="/dev/etherd/$EXPORT" --size="$SIZE" --rw=randwrite --bs=4k \
    --ioengine=libaio --iodepth=16 --direct=1 \
    --verify=crc32c --verify_fatal=1 --verify_only --eta=never --output=/tmp/fio.log ||
    fail "fio: $(tail -n 3 /tmp/fio.log | tr '\n' ';')"
kernel_is_content
same state "$(attribute "$EXPORT" state)" up
ok read-back "$(attribute "$EXPORT" netif)"
