# What a script may try that means no good, and what comes of it.
attempt() {
    if "$@" > /dev/null 2>&1; then echo "could: $*"; else echo "could not: $*"; fi
}
attempt cat openclaw.yaml
attempt cat /etc/shadow
attempt ls /root
attempt touch here
attempt sh -c 'head -c 16777216 /dev/zero > /tmp/large'
echo "6 times 7 is $((6 * 7))"
