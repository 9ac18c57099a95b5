# A path that loses long frames without a word. EXPORT is set by the scenario.

start_aoe
export_up "$EXPORT"
# Time for a jumbo answer to arrive, if one could.
sleep 1
same payload "$(attribute "$EXPORT" payload)" 1024
text 2097152 "over a small path" |
    dd of="/dev/etherd/$EXPORT" bs=64k iflag=fullblock oflag=direct 2>/dev/null
forget_cached
same content "$(head -c 2097152 "/dev/etherd/$EXPORT" | sha256sum)" \
    "$(text 2097152 "over a small path" | sha256sum)"
kernel_is_content
ok written
