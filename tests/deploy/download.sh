# What images.sh needs of the network: wheels, as the lock files name them, and the root file system of the base image.

include=ca-certificates,libssl3,libffi8,libsqlite3-0,libbz2-1.0,liblzma5,zlib1g,libreadline8,libncursesw6,libuuid1
include+=,libexpat1,tzdata,netbase
# A Python 3.12 with a prefix of its own goes into the image; where there is none, Debian's 3.11 will do.
for python in python3.12 "$HOME"/.pyenv/versions/3.12.*/bin/python3.12 ""; do
  if "${python:-true}" -c 'import sys; sys.exit(sys.base_prefix == "/usr")' 2> /dev/null; then break; fi
done
if [ -z "$python" ]; then
  python=/usr/bin/python3
  include+=,python3,python3-venv
fi
echo "the stand-in for python:3.12-slim has $("$python" --version)"

if [ ! -e "$WORK/base/debian.tar" ]; then
  timeout 300 mmdebstrap --quiet --variant=minbase --include="$include" bookworm "$WORK/base/debian.tar" \
    /etc/apt/sources.list.d/debian.sources &
  bootstrap=$!
fi
locks=()
for name in build text vision audio fusion orchestrator; do
  locks+=(--requirement "requirements/$name.txt")
done
"$python" -m venv "$WORK/pip"
timeout 400 "$WORK/pip/bin/pip" --disable-pip-version-check --quiet download --no-deps --only-binary :all: --require-hashes \
  --dest requirements/wheels "${locks[@]}" 2>&1 | { grep -v '^WARNING: Location' || true; }
test -z "${bootstrap:-}" || wait "$bootstrap"

if [ "$python" = /usr/bin/python3 ]; then
  cat > "$WORK/base/Containerfile" << 'E2'
FROM scratch
ADD debian.tar /
RUN python3 -m venv /usr/local/python
ENV PATH=/usr/local/python/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8
E2
else
  tar -C "$("$python" -c 'import sys; print(sys.base_prefix)')" --exclude='*.a' --exclude='lib/python3.12/test' --exclude='site-packages/*' \
    --exclude='__pycache__' -cf "$WORK/base/python.tar" .
  cat > "$WORK/base/Containerfile" << 'E2'
FROM scratch
ADD debian.tar /
ADD python.tar /usr/local/
RUN ldconfig && python3.12 -m ensurepip && ln -sf pip3.12 /usr/local/bin/pip
ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8
E2
fi
