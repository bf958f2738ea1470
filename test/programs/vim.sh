#!/usr/bin/env bash
# Models: an interactive editor, edited by keys in a terminal, and the terminal multiplexer around it; both hold a screen
# Packages: vim tmux perl
# Quick: yes
. "$(dirname "$0")/lib.sh"

loads vim.basic tmux

lines=$(amount 8000 60000)
perl -e 'printf "int f%d(const char *s, int n) { return n %% %d + (int)s[%d]; } /* the %dth */\n", $_, $_ % 97 + 1, $_ % 7, $_ for 1 .. shift' "$lines" >"$T/big.c"

# No configuration but this; a fixed size, and nothing on the screen that tells the time.
cat >"$T/vimrc" <<'END'
set nocompatible noswapfile nobackup viminfo= encoding=utf-8 hlsearch incsearch number undolevels=1000 shortmess=atIF
set noruler noshowcmd laststatus=2 statusline=%f\ %l/%L\ after\ step\ %{get(g:,'step',0)} nomore lazyredraw
syntax on
filetype plugin on
set omnifunc=syntaxcomplete#Complete
END

tmux=(tmux -L "bslab-$$" -f /dev/null)
at_end() {
	# The server is a daemon: it ends with its last session, or here.
	[ -z "${tmux[*]}" ] || "${tmux[@]}" kill-server 2>/dev/null
}
export TMUX_TMPDIR=$T

keys() { "${tmux[@]}" send-keys -t edit "$@"; }
typed() { "${tmux[@]}" send-keys -t edit -l "$1"; }

# Waits until vim has done all it was sent, which its status line says, and until the screen no longer changes.
step=0
screen() {
	local i before='' now=''
	step=$((step + 1))
	keys Escape
	typed ":let step = $step | redrawstatus! | redraw!"
	keys Enter
	for ((i = 0; i < 1200; i++)); do
		now=$("${tmux[@]}" capture-pane -p -t edit)
		if [[ $now = *"after step $step"* && $now = "$before" ]]; then
			printf -- '--- screen %d\n%s\n' $step "$now"
			return
		fi
		before=$now
		sleep 0.1
	done
	echo "vim does not answer at step $step" >&2
	return 1
}

session() {
	local vim
	cp "$T/big.c" edited.c
	under "$who" "${tmux[@]}" new-session -d -s edit -x 120 -y 40 'exec sh'
	typed "exec vim.basic -u $T/vimrc -i NONE edited.c 2>$log/vim.$who.err"
	keys Enter
	screen
	# The shell in the pane became vim, so that the pane's process is vim itself.
	vim=$("${tmux[@]}" display-message -p -t edit '#{pane_pid}')
	mapped "$who" "$vim" "$("${tmux[@]}" display-message -p '#{pid}')"

	typed ':%s/\v<f(\d+)>/\="func_" . submatch(1) * 3/g'
	keys Enter
	typed ':%s/\<s\>/text/g'
	keys Enter
	typed ':g/the \d*5th/m$'
	keys Enter
	screen

	typed 'gg/return'
	keys Enter
	typed 'qqnciwRETURN'
	keys Escape
	typed 'jq500@q'
	screen

	typed 'ggVGyGp:%!sort -s -k 3'
	keys Enter
	screen

	# Undone to the first state, and all of it again.
	typed ':earlier 100'
	keys Enter
	screen
	typed ':later 100'
	keys Enter
	typed ':vsplit | normal G'
	keys Enter
	typed ':new | read edited.c | %s/i/(&)/g | wincmd p | syntax sync fromstart'
	keys Enter
	screen

	# Completion builds a menu of all words of the file; then a script of vim's own, with lists and dictionaries.
	typed 'Goun'
	keys C-n C-n C-p
	screen
	typed ":let d = {} | for i in range(30000) | let d[i % 999] = get(d, i % 999, []) + [printf('%05d', i)] | endfor"
	keys Enter
	typed ':call append(0, sha256(string(d)))'
	keys Enter
	"${tmux[@]}" resize-window -t edit -x 90 -y 30
	screen
	typed ':only! | write | qall!'
	keys Enter
	for _ in {1..1200}; do
		"${tmux[@]}" has-session -t edit 2>/dev/null || break
		sleep 0.05
	done
	if "${tmux[@]}" has-session -t edit 2>/dev/null; then echo "vim did not end" >&2; return 1; fi
	sha256sum edited.c
}

compare session session
same edited.c
