#!/usr/bin/env bash
# Models: delta search over large windows on several threads, memory-mapped packs, many short processes
# Packages: git perl
# Quick: yes
. "$(dirname "$0")/lib.sh"

loads git
# On a slow machine, and only there, git would say how far it is.
export GIT_PROGRESS_DELAY=100000 GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=c GIT_COMMITTER_EMAIL=c@example.org
git config --global init.defaultBranch main
git config --global advice.detachedHead false
git config --global pack.threads 2
git config --global gc.auto 0

# A history of real files: Perl's library, grown and edited a little in each commit. Dates are fixed, so that the names of
# the commits, which are hashes of all that is in them, can be compared.
commits=$(amount 15 120)
history() {
	local i
	under "$who" git init -q origin
	cd origin
	find /usr/share/perl/5*/ -name '*.p[ml]' -size -300k | LC_ALL=C sort | sed -n "1,$(amount 600 4000)p" >../all
	for ((i = 1; i <= commits; i++)); do
		export GIT_AUTHOR_DATE="$((1600000000 + i * 1000)) +0000" GIT_COMMITTER_DATE="$((1600000000 + i * 1000)) +0000"
		awk -v i="$i" -v n="$commits" 'NR % n == i - 1' ../all | xargs -r cp --parents -t . 2>/dev/null
		find . -name '*.p[ml]' | LC_ALL=C sort | awk -v i="$i" '(NR * 31 + i) % 40 == 0' |
			xargs -r perl -i -pe 's/\bthe\b/"the[" . '"$i"' . "]"/e if ($. + '"$i"') % 17 == 0; close ARGV if eof'
		if ((i % 10 == 0)); then
			mkdir -p "moved$i"
			# shellcheck disable=SC2016 # the parameters of the inner shell
			git ls-files '*.pm' | awk -v i="$i" 'NR % 50 == i % 50' | under "$who" xargs -r sh -c 'exec git mv -k "$@" "$0"' "moved$i"
		fi
		under "$who" git add -A
		under "$who" git commit -q -m "change $i"
	done
	under "$who" git rev-list --objects --all | sha256sum
	under "$who" git fsck --full --strict
}

# Through the pack protocol, and not by linking the files.
clones() {
	under "$who" git clone -q --no-local origin clone
	under "$who" git clone -q --no-local --bare --depth 5 "file://$PWD/origin" shallow
	under "$who" git -C clone rev-parse HEAD
	under "$who" git -C clone status --short
	under "$who" git -C shallow log --format='%H %s'
}

reads() {
	cd clone
	under "$who" git log --stat -M --format=fuller | sha256sum
	under "$who" git log -p --cc --word-diff=plain -3 | sha256sum
	under "$who" git log --oneline -S'the[5]' | cat
	under "$who" git grep -n --threads=2 -E 'sub \w+_\w+' HEAD~5 | sha256sum
	under "$who" git blame -C "$(git ls-files | sed -n 1p)" | sha256sum
	under "$who" git shortlog -s HEAD
	under "$who" git archive HEAD | sha256sum
	under "$who" git fast-export --all | sha256sum
}

# Which deltas two threads find depends on their timing; what the pack holds does not.
packs() {
	cd clone
	under "$who" git gc -q --aggressive --prune=now
	under "$who" git fsck --full
	under "$who" git verify-pack -v .git/objects/pack/*.idx | awk '$2 ~ /^(commit|tree|blob)$/ { print $1, $2 }' | LC_ALL=C sort | sha256sum
	under "$who" git bundle create -q ../all.bundle --all
	under "$who" git clone -q ../all.bundle ../unbundled
	under "$who" git -C ../unbundled rev-list --objects HEAD | sha256sum
}

merges() {
	cd clone
	export GIT_AUTHOR_DATE='1700000000 +0000' GIT_COMMITTER_DATE='1700000000 +0000'
	under "$who" git checkout -q -b side HEAD~10
	git ls-files '*.pm' | sed -n 1,40p | xargs perl -i -pe 's/^=head1/=head1 Side:/'
	under "$who" git commit -q -a -m side
	under "$who" git merge -q -m merged -X theirs main
	under "$who" git rebase -q main || { under "$who" git status --short; under "$who" git rebase --abort; }
	under "$who" git rev-parse HEAD 'HEAD^{tree}'
}

compare history history
compare clones clones
compare reads reads
compare merges merges
compare packs packs
