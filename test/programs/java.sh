#!/usr/bin/env bash
# Models: a virtual machine whose own heap is mapped, and whose compilers, class loader, zip and sockets are on malloc
# Packages: openjdk-17-jdk-headless mawk
. "$(dirname "$0")/lib.sh"

bin=/usr/lib/jvm/java-17-openjdk-$(dpkg --print-architecture)/bin
[ -x "$bin/java" ] || fail "no Java where Debian has it"
loads "$bin/java" "$bin/javac"

cp "$here/input/Work.java" "$T"
printf 'class Maps { public static void main(String[] a) throws Exception { System.out.print(java.nio.file.Files.readString(java.nio.file.Path.of("/proc/self/maps"))); } }' >"$T/Maps.java"
sees_lib "$bin/java" "$T/Maps.java"

rounds=$(amount 1 3)
under glibc "$bin/javac" -d "$T" "$T/Work.java"
work() { under "$who" "$bin/java" -XX:-UsePerfData -Xmx512m -cp "$T" "$@"; }
compare g1 work -XX:+UseG1GC Work "$rounds"
compare parallel work -XX:+UseParallelGC -XX:+AlwaysPreTouch -Xms256m Work "$rounds"
# Every method compiled at once, by both compilers, whose memory is all malloc.
compare compiled work -XX:+UseSerialGC -Xcomp Work 1

# A large program through the compiler, and what it makes run.
awk -v n="$(amount 300 800)" 'BEGIN {
	for (i = 0; i < n; i++) {
		printf "interface I%d<T> { T get(T t, int n); }\n", i
		printf "class C%d implements I%d<String>%s {\n\tprivate final java.util.Map<Integer, String> m = new java.util.TreeMap<>();\n", i, i, i ? ", Comparable<C" i - 1 ">" : ""
		printf "\tpublic String get(String s, int n) { for (int k = 0; k < n; k++) m.merge(k %% %d, s + k, (a, b) -> a.length() > 40 ? b : a + b); return m.values().stream().filter(x -> x.length() > %d).sorted().findFirst().orElse(\"none\"); }\n", i % 7 + 1, i % 5
		if (i) printf "\tpublic int compareTo(C%d o) { return switch (o.get(\"x\", %d)) { case \"none\" -> 0; default -> %d; }; }\n", i - 1, i % 9, i
		print "}"
	}
	print "public class Big {\n\tpublic static void main(String[] a) {\n\t\tint s = 0;"
	for (i = 1; i < n; i++) printf "\t\ts = s * 31 + new C%d().compareTo(new C%d()) + new C%d().get(\"y\", %d).hashCode();\n", i, i - 1, i, i % 20
	print "\t\tSystem.out.println(s);\n\t}\n}"
}' >"$T/Big.java"

big() {
	mkdir classes
	under "$who" "$bin/javac" -J-XX:-UsePerfData -d classes "$T/Big.java"
	(cd classes && find . -name '*.class' | LC_ALL=C sort | xargs sha256sum)
	under "$who" "$bin/jar" --create --file big.jar --date=2020-01-01T00:00:00Z -C classes .
	under "$who" "$bin/java" -XX:-UsePerfData -cp big.jar Big
}
compare big big
