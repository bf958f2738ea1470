#!/usr/bin/env bash
# Models: a solver: clauses, terms and hash tables in millions of small blocks, with most of the time in memory
# Packages: z3 mawk
. "$(dirname "$0")/lib.sh"

loads z3

# Queens on a board, as integers; every answer is a model, which a fixed seed makes the same each time.
awk -v n="$(amount 10 16)" 'BEGIN {
	for (i = 0; i < n; i++) printf "(declare-const q%d Int)\n(assert (and (<= 0 q%d) (< q%d %d)))\n", i, i, i, n
	for (i = 0; i < n; i++) for (j = 0; j < i; j++)
		printf "(assert (and (not (= q%d q%d)) (not (= (- q%d q%d) %d)) (not (= (- q%d q%d) %d))))\n", i, j, i, j, i - j, i, j, j - i
	print "(check-sat)\n(get-model)"
}' >"$T/queens.smt2"

# One pigeon too many: no answer, and an exponential search for it.
awk -v n="$(amount 7 9)" 'BEGIN {
	for (p = 0; p <= n; p++) for (h = 0; h < n; h++) printf "(declare-const p%d_%d Bool)\n", p, h
	for (p = 0; p <= n; p++) { printf "(assert (or"; for (h = 0; h < n; h++) printf " p%d_%d", p, h; print "))" }
	for (h = 0; h < n; h++) for (p = 0; p <= n; p++) for (q = 0; q < p; q++) printf "(assert (or (not p%d_%d) (not p%d_%d)))\n", p, h, q, h
	print "(check-sat)"
}' >"$T/pigeons.smt2"

# Circuits: a product is commutative and distributes, in bits; and a number is taken apart into factors.
cat >"$T/bits.smt2" <<END
(set-option :produce-models true)
(declare-const a (_ BitVec $(amount 6 8)))
(declare-const b (_ BitVec $(amount 6 8)))
(declare-const c (_ BitVec $(amount 6 8)))
(push)
(assert (not (= (bvmul a (bvadd b c)) (bvadd (bvmul a b) (bvmul c a)))))
(check-sat)
(pop)
(declare-const x (_ BitVec 40))
(declare-const y (_ BitVec 40))
(assert (= (bvmul x y) (_ bv$(amount 1022117 1000036000099) 40)))
(assert (bvult x (_ bv1048576 40)))
(assert (bvult y (_ bv1048576 40)))
(assert (bvugt x (_ bv1 40)))
(assert (bvuge y x))
(check-sat)
(get-value (x y))
END

# Quantifiers (the inverse of a product in a group), arrays and functions.
cat >"$T/theories.smt2" <<'END'
(declare-sort E)
(declare-fun op (E E) E)
(declare-fun inv (E) E)
(declare-const e E)
(assert (forall ((x E) (y E) (z E)) (! (= (op x (op y z)) (op (op x y) z)) :pattern ((op (op x y) z)))))
(assert (forall ((x E)) (! (= (op e x) x) :pattern ((op e x)))))
(assert (forall ((x E)) (! (= (op x e) x) :pattern ((op x e)))))
(assert (forall ((x E)) (! (= (op (inv x) x) e) :pattern ((inv x)))))
(assert (forall ((x E)) (! (= (op x (inv x)) e) :pattern ((inv x)))))
(push)
(declare-const k E)
(declare-const l E)
(assert (not (= (inv (op k l)) (op (inv l) (inv k)))))
(check-sat)
(pop)
(push)
(declare-fun k (Int) E)
(assert (not (= (inv (op (op (op (op (k 1) (k 2)) (k 3)) (k 4)) (k 5)))
	(op (inv (k 5)) (op (inv (k 4)) (op (inv (k 3)) (op (inv (k 2)) (inv (k 1)))))))))
(check-sat)
(pop)
(declare-const m (Array Int Int))
(declare-const n (Array Int Int))
(declare-const i Int)
(assert (= n (store (store m i 7) (+ i 1) (select m (- i 1)))))
(assert (> (select n (+ i 1)) (+ (select n i) 3)))
(assert (= (select m 5) (* 2 i)))
(check-sat)
(declare-fun f (Int) Int)
(declare-fun g (Int Int) Int)
(assert (forall ((x Int)) (! (=> (> x 0) (= (f x) (+ (f (- x 1)) (g x x)))) :pattern ((f x)))))
(assert (= (f 0) 0))
(assert (forall ((x Int) (y Int)) (! (and (>= (g x y) x) (<= (g x y) (+ y 1))) :pattern ((g x y)))))
(assert (not (and (>= (f 900) 405450) (<= (f 900) 406350))))
(check-sat)
END

for problem in queens pigeons bits theories; do
	compare $problem z3 smt.random_seed=1 sat.random_seed=1 "$T/$problem.smt2"
done
# The same on several threads, whose answer must be the same though its way there is not.
compare threads z3 sat.threads=3 parallel.enable=true "$T/pigeons.smt2"
