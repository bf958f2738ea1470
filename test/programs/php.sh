#!/usr/bin/env bash
# Models: an interpreter whose modules are loaded with RTLD_DEEPBIND, and that has a heap of its own or, told so, malloc's
# Packages: php8.2-cli php8.2-xml php8.2-mbstring php8.2-sqlite3
. "$(dirname "$0")/lib.sh"

no_deepbind
loads php8.2
sees_lib php8.2 -r 'readfile("/proc/self/maps");'

compare work php8.2 "$here/input/work.php" "$(amount 1 4)"
without_its_heap() {
	USE_ZEND_ALLOC=0 under "$who" php8.2 "$here/input/work.php" "$(amount 1 4)"
}
compare malloc without_its_heap
