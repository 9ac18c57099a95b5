# Many exports at once: each gets a text of its own, all at the same time, and
# every one has its own text afterwards. SHELF and COUNT are set by the scenario.

start_aoe
for n in $(seq 0 $((COUNT - 1))); do
    export_up "e$SHELF.$n"
done
ok discovered "$(ls -d /sys/block/etherd* | wc -l)"

text_of() { text 4194304 "this is the text of export $1"; }
writers=
for n in $(seq 0 $((COUNT - 1))); do
    text_of "$n" | dd of="/dev/etherd/e$SHELF.$n" bs=64k iflag=fullblock oflag=direct 2>/dev/null &
    writers="$writers $!"
done
for writer in $writers; do
    wait "$writer"
done
forget_cached
for n in $(seq 0 $((COUNT - 1))); do
    there=$(head -c 4194304 "/dev/etherd/e$SHELF.$n" | sha256sum)
    same "export $n" "$there" "$(text_of "$n" | sha256sum)"
done
kernel_is_content
ok written
