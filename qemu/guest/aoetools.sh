# The tools that come with the driver, each with the output a person expects.
# SHELF, SLOT, SERIAL and PAYLOAD are set by the scenario.

export_name=e$SHELF.$SLOT
shows() { # WHAT FILE PATTERN
    grep -E -q "$3" "$2" || fail "$1 shows no \"$3\" but: $(tr '\n' ';' <"$2")"
}

# Before the driver is there: the tools that send frames themselves.
ip link set eth0 up
within 10 grep -q 1 /sys/class/net/eth0/carrier
# aoe-sancheck measures the path by itself. It believes the first answer to its
# query, which is the small one of the two and so says 2 sectors.
# It waits for no late answer, so a busy machine gets another chance.
sancheck() {
    timeout 30 aoe-sancheck >/tmp/sancheck 2>&1 || fail "aoe-sancheck: $(tail -n 3 /tmp/sancheck | tr '\n' ';')"
    grep -q "^$export_name" /tmp/sancheck
}
within 60 sancheck
shows aoe-sancheck /tmp/sancheck "^$export_name[[:space:]]+1[[:space:]]+1024[[:space:]]+eth0"
ok aoe-sancheck "$(grep -c . /tmp/sancheck) lines"

# tool SECONDS COMMAND…: runs it, with what it says in /tmp/said. aoeping waits
# for ever when it gets no answer that it likes, so nothing here runs unlimited.
tool() {
    local limit=$1
    shift
    timeout "$limit" "$@" >/tmp/said 2>&1 || fail "$*: exit $?, $(tr '\n' ';' </tmp/said)"
}

tool 30 aoeping -v "$SHELF" "$SLOT" eth0
shows "aoeping -v" /tmp/said "^found $export_name with mac"
tool 30 aoeping "$SHELF" "$SLOT" eth0
tool 30 aoeping -i "$SHELF" "$SLOT" eth0
# A caption and 512 bytes, 16 a line.
same "aoeping -i, in lines" "$(grep -E -c '^([0-9a-f]{2} ){16}$' /tmp/said)" 32
tool 30 aoeping -I "$SHELF" "$SLOT" eth0
shows "aoeping -I" /tmp/said "^serial_number: $SERIAL"
shows "aoeping -I" /tmp/said "^model: "
ok aoeping "$(grep '^model' /tmp/said | tr -s ' ')"

tool 30 aoeping -S read_data "$SHELF" "$SLOT" eth0
shows "aoeping -S read_data" /tmp/said "Status: 0x40"
same "aoeping -S, in lines" "$(grep -E -c '^([0-9a-f]{2} ){16}$' /tmp/said)" 32
# Commands without data are answered with registers alone, in 60 bytes. The tool
# insists on a sector more and gives up; it must get its answer and not wait.
for command in enable return_status; do
    code=0
    timeout 30 aoeping -S "$command" "$SHELF" "$SLOT" eth0 >/tmp/said 2>&1 || code=$?
    same "exit of aoeping -S $command" "$code" 1
done
ok smart

configured() { # WORDS OF AOECFG…: what it prints for our export within a second
    tool 30 aoecfg -t 1 "$@" "$SHELF" "$SLOT" eth0
    tr -d '\n' </tmp/said
}
same "the first config string" "$(configured -c read)" ""
same "aoecfg set" "$(configured -c set -s "box 1")" "box 1"
same "aoecfg read" "$(configured -c read)" "box 1"
same "aoecfg prefix" "$(configured -c prefix -s box)" "box 1"
same "aoecfg test of another string" "$(configured -c test -s box)" ""
same "aoecfg test" "$(configured -c test -s "box 1")" "box 1"
same "aoecfg set of another string" "$(configured -c set -s "box 2")" "*badcfg*"
same "aoecfg fset" "$(configured -c fset -s "box 2")" "box 2"
tool 30 aoecfg -t 1
shows "aoecfg to everybody" /tmp/said "^$SHELF.$SLOT[[:space:]]+box 2"
same "aoecfg fset of nothing" "$(configured -c fset -s "")" ""
ok aoecfg

start_aoe
export_up "$export_name"
aoe-discover
within 10 sh -c "aoe-stat | grep -q '$export_name'"
aoe-stat >/tmp/stat
stat=$(tr -s ' ' </tmp/stat)
shows aoe-stat /tmp/stat "^ *$export_name +[0-9.]+GB +eth0 +$PAYLOAD +up"
aoe-revalidate "$export_name"
aoe-interfaces eth0
same aoe-interfaces "$(aoe-interfaces)" eth0
aoe-version >/tmp/version
shows aoe-version /tmp/version "running aoe driver"
aoe-flush -a
gone() { [ -z "$(aoe-stat)" ]; }
within 10 gone
aoe-discover
export_up "$export_name"
kernel_is_content
ok driver "$stat"
