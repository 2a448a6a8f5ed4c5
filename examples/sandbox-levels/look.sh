# What an agent sees of the machine that it runs on.
can() {
    if "$@" > /dev/null 2>&1; then echo yes; else echo no; fi
}
echo "sees $(ls -d /proc/[0-9]* | wc -l) processes"
echo "reads /etc/shadow: $(can cat /etc/shadow)"
echo "sees the home of root: $(can ls -d /root)"
echo "sees the fleet file: $(can cat openclaw.yaml)"
echo "writes beside it: $(can touch written)"
echo "makes a namespace: $(can unshare --user true)"
rm -f written
