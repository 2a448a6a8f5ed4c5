# One change, committed. Its commits can be pushed to git.example.com and nowhere else.
set -e
cd work
[ -d .git ] || git init --quiet
date > changed
git add changed
git commit --quiet --message "A change"
git log --oneline | head -n 1
