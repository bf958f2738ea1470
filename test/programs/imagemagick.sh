#!/usr/bin/env bash
# Models: pixel caches of tens of megabytes made and dropped by each operation, filters on OpenMP threads, codecs
# Packages: imagemagick ghostscript
. "$(dirname "$0")/lib.sh"

loads convert

# Pixels and not files are compared: a PNG says when it was made. Random operations have a fixed seed.
export OMP_NUM_THREADS=3 MAGICK_THREAD_LIMIT=3
size=$(amount 500x400 1000x750)
pixels() { under "$who" identify -format '%f %m %wx%h %#\n' "$@"; }

make() {
	under "$who" convert -size "$size" -seed 42 plasma:red-blue -depth 8 plasma.png
	under "$who" convert -size "$size" gradient:'#102030-#f0e0d0' \( xc: -seed 7 +noise Random -blur 0x3 -normalize \) -compose overlay -composite noise.png
	pixels plasma.png noise.png
}

edit() {
	under "$who" convert plasma.png -resize 180% -unsharp 0x1.5 -rotate 17 -background gray -distort Perspective '0,0 20,30 100,0 90,10 0,100 5,120 100,100 140,90' distorted.png
	under "$who" convert noise.png -gaussian-blur 0x4 -edge 2 -negate -contrast-stretch 1%x1% -colorspace Lab -modulate 110,120 edged.png
	under "$who" convert plasma.png -paint 4 -charcoal 2 -emboss 1 painted.png
	under "$who" convert plasma.png noise.png -morphology Dilate Disk:4 -average -median 3 averaged.png
	under "$who" convert noise.png -colors 64 -dither FloydSteinberg -ordered-dither o8x8 dithered.gif
	under "$who" convert plasma.png -fft +adjoin -delete 1 -auto-level -evaluate log 500 spectrum.png
	under "$who" convert plasma.png -crop 7x7@ +repage -shave 2x2 -append -thumbnail 300x tiles.png
	under "$who" convert plasma.png -resize 300x -fx '0.5*(u.r+u.p{j,i}.g)+0.1*sin(i/9)' fx.png
	pixels distorted.png edged.png painted.png averaged.png dithered.gif spectrum.png tiles.png fx.png
}

codecs() {
	local type
	for type in jpg webp tiff bmp ppm pcx sgi tga miff; do
		under "$who" convert plasma.png -quality 85 coded.$type
		pixels coded.$type
	done
	under "$who" convert -size 120x90 plasma:fractal -seed 3 -duplicate 20 -delay 5 -layers Optimize all.gif
	under "$who" identify all.gif | wc -l
	under "$who" montage -geometry 120x90+4+4 -tile 5x plasma.png noise.png distorted.png edged.png painted.png miff:- | under "$who" identify -format '%wx%h %#\n' -
	under "$who" compare -metric RMSE plasma.png noise.png null: 2>&1 || [ $? = 1 ]
}

compare make make
compare edit edit
compare codecs codecs
