#!/bin/sh
# A silo for tests of the farm: "builds" what the step says, in milliseconds and without a sandbox.
# step: emit WORD BYTES SECONDS (same|differ|fail) end
set -eu
# As the real one: it does not outlive whoever started it.
if [ -z "${WITH_PARENT-}" ]; then
	export WITH_PARENT=1
	exec setpriv --pdeathsig KILL -- "$0" "$@"
fi
scratch=$2
line=$(sed -n 's/.*emit \([a-z0-9-]*\) \([0-9]*\) \([0-9.]*\) \([a-z]*\) end.*/\1 \2 \3 \4/p' "$scratch/job.json")
mkdir -p "$scratch/outputs"
if [ -z "$line" ]; then
	# What a builder compiles for itself to vary the clock: nothing here will load it.
	line="clock 10 0 same" name=clock.so
fi
set -- $line
word=$1 bytes=$2 seconds=$3 kind=$4 name=${name-out}
printf 'building %s\n' "$word" >"$scratch/transcript"
printf '{"event":"output","bytes":"%s"}\n' "$(base64 -w0 <"$scratch/transcript")" >&3
if [ "$seconds" != 0 ]; then
	sleep "$seconds" &
	wait $!
	printf 'done\n' >>"$scratch/transcript"
	printf '{"event":"output","bytes":"%s"}\n' "$(printf 'done\n' | base64 -w0)" >&3
fi
# What a builder was dealt is different from what another one was.
[ "$kind" = differ ] && word="$word $(sed 's/.*"ambient"//' "$scratch/job.json" | sha256sum)"
yes "$word" 2>/dev/null | head -c "$bytes" >"$scratch/outputs/$name"
now=$(date +%s)
end='"transcript":null,"sandbox":{"runtime":"fake","cgroup":"none","kernel":"none"},"startedOn":'$now',"finishedOn":'$now',"peakMemory":null}'
if [ "$kind" = fail ]; then
	printf '{"schema":"lockstep-result/v1","status":"failed","failure":{"code":"STEP_FAILED","message":"it was told to fail","hint":"","step":"1","exitCode":1},"steps":[],"outputs":[],%s' "$end" >"$scratch/result.json"
	exit 1
fi
printf '{"schema":"lockstep-result/v1","status":"ok","failure":null,"steps":[],"outputs":[{"name":"%s","kind":"file","size":%s,"sha256":"%s","executable":false,"members":0,"newest":null}],%s' \
	"$name" "$bytes" "$(sha256sum "$scratch/outputs/$name" | cut -c1-64)" "$end" >"$scratch/result.json"
