# fio on several exports in turns, for figures. EXPORTS (names), MIXES, DEPTHS, ROUNDS,
# SECONDS_EACH and MIB (how much of an export is used) are set by whoever asks.
#
# The exports take turns within each mix and depth, so that a busy minute is everybody's.

start_aoe
for export in $EXPORTS; do
    export_up "$export"
done
ok ready "fio $(fio --version | sed 's/^fio-//'), Linux $(uname -r)"

for round in $(seq "$ROUNDS"); do
    for mix in $MIXES; do
        for depth in $DEPTHS; do
            for export in $EXPORTS; do
                fio --name=bench --filename="/dev/etherd/$export" --size="${MIB}m" \
                    --rw="$mix" --rwmixread=70 --bs=4k --ioengine=libaio --direct=1 \
                    --iodepth="$depth" --time_based --runtime="$SECONDS_EACH" \
                    --output-format=json --output=/tmp/fio.json --eta=never \
                    2>/tmp/fio.errors ||
                    fail "fio: $(head -n 3 /tmp/fio.errors | tr '\n' ';')"
                ok fio "$round $mix $depth $export $(tr -d '\n' </tmp/fio.json)"
            done
        done
    done
done
kernel_is_content
