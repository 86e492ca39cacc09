#!/bin/sh
# Builds first, tour and driver into a folder: build.sh PROTOS OUT
# Exits with 77 where a tool is missing. It takes Debian's jars; with Maven or Gradle, see README.md.
set -eu
protos=${1:?usage: build.sh PROTOS OUT} out=${2:?usage: build.sh PROTOS OUT}
here=$(dirname "$0")
missing() {
  echo "java: no $1; install with: apt-get install $(sed 's/#.*//' "$here/apt.txt" | xargs)" >&2
  exit 77
}
for need in javac protoc grpc_java_plugin; do
  command -v "$need" > /dev/null || missing "$need"
done
jars=
for name in grpc-api grpc-context grpc-core grpc-netty grpc-protobuf grpc-protobuf-lite grpc-stub protobuf protobuf-util gson \
  guava netty-buffer netty-codec netty-codec-http netty-codec-http2 netty-common netty-handler netty-resolver \
  netty-tcnative netty-transport opencensus-api perfmark-api geronimo-annotation-1.3-spec; do
  jar=/usr/share/java/$name.jar
  test -e "$jar" || missing "$jar"
  jars=$jars:$jar
done

# Debian's Netty does TLS for HTTP/2 through this library alone, and asks for it by another name than Debian's; it must be a
# copy, since the library looks at its own name with links followed.
tcnative=$(find /usr/lib -name libnetty-tcnative.so 2> /dev/null | head -n 1)
test -n "$tcnative" || missing libnetty-tcnative.so

mkdir -p "$out/classes" "$out/native"
cp "$tcnative" "$out/native/libnetty_tcnative.so"
out=$(cd "$out" && pwd)
sh "$here/generate.sh" "$protos" "$out/generated"
find "$out/generated" "$here/sensorium" -name '*.java' > "$out/sources"
# Warnings about generated code are not ours to act on.
javac -nowarn -encoding UTF-8 --release 17 -d "$out/classes" -cp "$jars" @"$out/sources" 2> "$out/javac.log" || { cat "$out/javac.log" >&2; exit 1; }

for program in First Tour Driver; do
  script=$out/$(echo $program | tr '[:upper:]' '[:lower:]')
  # Short programs start faster with one collector thread and the quick compiler alone.
  cat > "$script" << END
#!/bin/sh
exec java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Djava.library.path="$out/native" -cp "$out/classes$jars" sensorium.client.$program "\$@"
END
  chmod +x "$script"
done
