#!/usr/bin/env bash
# Models: an interpreter with collected memory of its own in large chunks, fonts, and bands of a page drawn on two threads
# Packages: ghostscript groff-base perl
. "$(dirname "$0")/lib.sh"

loads gs

# A long document of real text: a manual that perl ships, set by groff; then drawings that groff does not make.
perl -MPod::Man -e 'Pod::Man->new(name => "CPAN", date => "-", release => "-")->parse_from_file(@ARGV)' "$(perl -MCPAN -e 'print $INC{q(CPAN.pm)}')" "$T/cpan.man"
groff -man -Tps "$T/cpan.man" >"$T/text.ps"
cp "$here/input/drawing.ps" "$T"

gs=(gs -q -dNOPAUSE -dBATCH -dSAFER "--permit-file-read=$T/" "-sTMPDIR=$T")

pages=$(amount 4 20)
draw() { # draw FILE
	under "$who" "${gs[@]}" -dLastPage="$pages" -sDEVICE=png16m -r110 -dTextAlphaBits=4 -dGraphicsAlphaBits=4 -o "$1-%03d.png" "$1"
	under "$who" "${gs[@]}" -dLastPage="$pages" -sDEVICE=pbmraw -r150 -dNumRenderingThreads=2 -dBandBufferSpace=500000 -dMaxBitmap=0 -o "$1-%03d.pbm" "$1"
	sha256sum "$1"-*.p?m "$1"-*.png
}

# The PDF itself holds the time and a random identity, so what is compared is what it looks like and says.
convert() {
	under "$who" "${gs[@]}" -sDEVICE=pdfwrite -o "$1.pdf" "$T/$1.ps"
	draw "$1.pdf"
	under "$who" "${gs[@]}" -sDEVICE=txtwrite -o - "$1.pdf"
	under "$who" "${gs[@]}" -sDEVICE=inkcov -o - "$1.pdf"
	under "$who" "${gs[@]}" -sDEVICE=ps2write -o "$1.again.ps" "$1.pdf"
	under "$who" "${gs[@]}" -sDEVICE=tiffg4 -dLastPage=2 -o "$1.tiff" "$1.again.ps"
	tail -c +200 "$1.tiff" | wc -c
}

drawing() { cp "$T/drawing.ps" . && draw drawing.ps; }

compare text convert text
compare converted convert drawing
compare drawing drawing
