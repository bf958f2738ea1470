#!/usr/bin/env bash
# Models: heavily threaded encoders and decoders: aligned frames of megabytes handed from thread to thread and reused
# Packages: ffmpeg
. "$(dirname "$0")/lib.sh"

loads ffmpeg

# Pictures and sound that ffmpeg makes itself, the same each time: moving patterns, a fractal, noise with a fixed seed.
seconds=$(amount 2 6)
ffmpeg=(ffmpeg -nostdin -hide_banner -loglevel error -y)
sources=(-f lavfi -i "testsrc2=size=640x360:rate=25:duration=$seconds"
	-f lavfi -i "mandelbrot=size=640x360:rate=25:end_pts=400"
	-f lavfi -i "sine=frequency=440:beep_factor=4:sample_rate=44100:duration=$seconds")
mix='[0:v][1:v]blend=all_mode=overlay:shortest=1,noise=alls=12:all_seed=5,rotate=t/9,unsharp,split=2[a][b];[b]scale=160:-2,hue=H=t[s];[a][s]overlay=8:8,format=yuv420p[v]'

make() {
	under "$who" "${ffmpeg[@]}" "${sources[@]}" -filter_complex_threads 3 -filter_complex "$mix" -map '[v]' -map 2:a -c:v ffv1 -c:a flac source.mkv
	under "$who" "${ffmpeg[@]}" -i source.mkv -f framemd5 -
}

# What is compared is the decoded picture, frame by frame, by its checksum; a fixed number of threads makes it determined.
encode() { # encode NAME OPTION...
	under "$who" "${ffmpeg[@]}" -i source.mkv -threads 4 "${@:2}" "$1"
	under "$who" "${ffmpeg[@]}" -threads 4 -i "$1" -f framemd5 -
}

encoders() {
	encode x264.mkv -c:v libx264 -preset medium -crf 24 -c:a aac
	encode x264-sliced.mkv -c:v libx264 -preset veryfast -tune zerolatency -an
	encode x265.mkv -c:v libx265 -preset faster -x265-params log-level=error:pools=2:frame-threads=2 -c:a libopus
	encode vp9.webm -c:v libvpx-vp9 -row-mt 1 -tile-columns 1 -deadline realtime -cpu-used 6 -b:v 800k -c:a libvorbis
	encode mpeg2.ts -c:v mpeg2video -b:v 3M -c:a mp2
	encode prores.mov -c:v prores_ks -an
	encode all.gif -vf 'split[a][b];[a]palettegen[p];[b][p]paletteuse' -an
}

# Several outputs at once, and seeks to and fro in a file.
many() {
	under "$who" "${ffmpeg[@]}" -i x264.mkv \
		-vf scale=320:-2 -c:v mjpeg -an -f framemd5 - -vf fps=5,tile=4x4 -an sheet%d.png -vn -bitexact -c:a pcm_s16le sound.wav \
		-c copy -f segment -segment_time 1 part%d.mkv
	sha256sum sheet*.png sound.wav
	for at in 1.9 0.3 1.2 0.7; do under "$who" "${ffmpeg[@]}" -ss $at -i x264.mkv -frames:v 4 -an -f framemd5 -; done
}

compare make make
compare encoders encoders
compare many many
