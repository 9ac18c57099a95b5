# A file system on an export: made, filled, checked, and read back after the
# node was started anew. EXPORT and PAYLOAD are set by the scenario.

device=/dev/etherd/$EXPORT
start_aoe
export_up "$EXPORT"
# An answer may get lost while a card still starts; Linux itself asks each minute.
payload_is() {
    [ "$(attribute "$EXPORT" payload)" = "$PAYLOAD" ] || {
        echo >/dev/etherd/discover
        false
    }
}
within 20 payload_is
ok payload "$(attribute "$EXPORT" payload)"
ok sectors "$(cat "/sys/block/etherd!$EXPORT/size")"

mke2fs -q -t ext4 -F "$device"
mount -t ext4 "$device" /mnt
# Many small files, some large ones, links: what a system is made of.
mkdir /mnt/tree
cp -a /usr/bin /modules /guest /mnt/tree/
find /lib/x86_64-linux-gnu -type f -size -1000k -exec cp -a {} /mnt/tree/ +
for n in $(seq 300); do
    echo "file number $n" >"/mnt/tree/small-$n"
done
sync
(cd /mnt/tree && find . -type f -exec sha256sum {} +) >/tmp/sums
forget_cached
(cd /mnt/tree && sha256sum -c -s /tmp/sums)
ok tree "$(wc -l </tmp/sums) files, $(du -sm /mnt/tree | cut -f 1) MiB"

fio --name=verify --filename=/mnt/verify --size=24M --rw=randrw --bsrange=4k-64k \
    --ioengine=libaio --iodepth=32 --direct=1 \
    --verify=crc32c --verify_fatal=1 --eta=never --output=/tmp/fio.log ||
    fail "fio: $(tail -n 3 /tmp/fio.log | tr '\n' ';')"
ok fio

umount /mnt
e2fsck -f -n "$device" >/tmp/fsck.log 2>&1 || fail "fsck: $(tail -n 3 /tmp/fsck.log | tr '\n' ';')"
ok clean

told again
forget_cached
mount -t ext4 -o ro "$device" /mnt
(cd /mnt/tree && sha256sum -c -s /tmp/sums)
umount /mnt
e2fsck -f -n "$device" >/tmp/fsck.log 2>&1 || fail "fsck: $(tail -n 3 /tmp/fsck.log | tr '\n' ';')"
kernel_is_content
ok read-back
