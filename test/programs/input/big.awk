# A C program of `functions` functions, no two alike; it prints a checksum of them all.
# Names, tables, switches, loops over arrays and calls among them keep every part of a compiler busy.
BEGIN {
	print "#include <stdint.h>\n#include <stdio.h>\n#include <string.h>\n"
	print "struct node { uint32_t key, value; struct node *next; double weight; };\n"
	for (i = 0; i < functions; i++) {
		printf "static const char name%d[] = \"function number %d, the %dth of its kind\";\n", i, i, i % 31
		printf "static uint32_t table%d[] = {", i
		for (k = 0; k < 12 + i % 9; k++) printf "%du, ", (i * 2654435761 + k * 40503) % 4294967296
		print "};"
		printf "uint32_t f%d(uint32_t a, uint32_t b)\n{\n", i
		printf "\tstruct node n[%d]; uint32_t s = a ^ %du;\n", 3 + i % 6, i * 7919
		printf "\tfor (int k = 0; k < %d; k++) {\n\t\tn[k].key = table%d[k] + s; n[k].value = b * %du + k;\n", 3 + i % 6, i, i % 97 + 1
		printf "\t\tn[k].next = k ? &n[k - 1] : 0; n[k].weight = (double)(n[k].key %% %d) / %d;\n\t}\n", 100 + i % 50, 3 + i % 11
		printf "\tswitch (s %% %d) {\n", 5 + i % 8
		for (k = 0; k < 5 + i % 8; k++) {
			printf "\tcase %d: s += n[%d].value %s table%d[%d]; ", k, k % 3, substr("+-^|&", k % 5 + 1, 1), i, k
			print k % 3 ? "break;" : "/* fall through */"
		}
		print "\t}"
		printf "\tfor (struct node *p = &n[%d]; p; p = p->next) s = (s << %d | s >> %d) ^ (uint32_t)(p->weight * 16) ^ p->key;\n", 2 + i % 6, i % 15 + 1, 31 - i % 15
		if (i > 2) printf "\tif (s & %du) s += f%d(s >> 3, b + 1) ^ (uint32_t)strlen(name%d);\n", 2 ^ (i % 20 + 6) - 1 - 2 ^ (i % 20), int(i / 2), int(i / 3)
		printf "\treturn s + name%d[s %% (sizeof name%d - 1)];\n}\n\n", i, i
	}
	print "int main(void)\n{\n\tuint32_t s = 1;"
	for (i = 0; i < functions; i++) printf "\ts = f%d(s, %du);\n", i, i
	print "\tprintf(\"%08x\\n\", s);\n\treturn 0;\n}"
}
