# Runs as root inside an image and complains of what has no business there.
fault=0
complain() {
  echo "$*" >&2
  fault=1
}

for tool in cc gcc g++ clang make ld pip pip3 uv; do
  if command -v "$tool"; then complain "there is a $tool"; fi
done
if python -m pip --version 2> /dev/null; then complain "there is a pip"; fi
found=$(find / -xdev \( -name '*.whl' -not -path '/usr/*' -o -name '*.deb' -o -path '*/.cache/*' -o -path '/root/.local/*' \
  -o -path '/var/lib/apt/lists/*_Packages*' -o -path '/app/*/tests/*' -o -name '*.proto' -path '/app/*' \) | head)
if [ -n "$found" ]; then complain "left behind: $found"; fi
services=$(cd /app/services && echo */)
if [ "$services" != "__pycache__/ $SERVICE/" ]; then complain "there are $services"; fi
found=$(find /app /opt/venv \( -perm /022 -not -type l -o -not -user 0 -o -perm /6000 \) | head)
if [ -n "$found" ]; then complain "others than root may write: $found"; fi
if touch /app/here 2> /dev/null; then complain "the root can be written"; fi
exit $fault
