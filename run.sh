(sleep ${1:-60} | LD_PRELOAD=/tmp/wF-build/libbslab.so /tmp/wF-o/heap $2 $3 >/tmp/wF-o/heap.out) & 
sleep 0.4
pgrep -n -x heap
