# Writers that say what they were told is written, and fio beside them, until the
# power fails. EXPORT, STREAMS and SLOTS are set by the scenario.

start_aoe
export_up "$EXPORT"
device=/dev/etherd/$EXPORT

# stream NUMBER: one block after the other, in SLOTS places in turn. A block of
# 4 KiB says in each of its lines of 32 bytes which it is.
stream() {
    local write=0 block
    while true; do
        write=$((write + 1))
        printf -v block '%-31s|' "stream $1 write $write"
        for _ in 1 2 3 4 5 6 7; do
            block+=$block
        done
        printf %s "$block" |
            dd of="$device" bs=4096 seek=$(($1 * SLOTS + write % SLOTS)) \
                iflag=fullblock oflag=direct conv=notrunc,fsync 2>/dev/null
        ok acknowledged "$1 $write"
    done
}

ok writing
fio --name=load --filename="$device" --offset=1m --size=1m --rw=randwrite --bs=4k \
    --ioengine=libaio --iodepth=16 --direct=1 --sync=1 --refill_buffers --rate_iops=250 \
    --time_based --runtime=600 --eta=never --output=/tmp/fio.log &
for number in $(seq 0 $((STREAMS - 1))); do
    stream "$number" &
done
wait
