// A service's day in JavaScript: requests as JSON, buffers outside the engine's heap, compression, a cache that forgets.
// node work.js ROUNDS
'use strict';
const zlib = require('zlib');
const { createHash } = require('crypto');

const random = ((state) => (n) => (state = (state * 1103515245 + 12345) % 2147483648) % n)(42);

function documents(count) {
  const list = [];
  for (let i = 0; i < count; i++) {
    list.push({ id: i, name: 'name ' + random(5000), tags: Array.from({ length: random(8) }, (_, k) => 't' + k), text: 'x'.repeat(random(200)) });
  }
  return list;
}

function cache(rounds) {
  const kept = new Map();
  let bytes = 0;
  for (let i = 0; i < rounds; i++) {
    const key = random(3000);
    const old = kept.get(key);
    if (old) bytes -= old.length;
    const block = Buffer.allocUnsafeSlow(1 + random(20000)).fill(i & 255);
    kept.set(key, block);
    bytes += block.length;
    if (kept.size > 1000) {
      const first = kept.keys().next().value;
      bytes -= kept.get(first).length;
      kept.delete(first);
    }
  }
  return bytes;
}

function round() {
  const list = documents(20000);
  const text = JSON.stringify(list);
  const packed = zlib.gzipSync(text, { level: 1 });
  const again = JSON.parse(zlib.gunzipSync(packed).toString());
  const groups = new Map();
  for (const one of again) {
    if (!groups.has(one.name)) groups.set(one.name, []);
    groups.get(one.name).push(one);
  }
  const names = [...groups.keys()].sort().join(',').replace(/name (\d+)/g, '<$1>');
  return createHash('sha256').update(names).digest('hex').slice(0, 12) + ' ' + cache(20000);
}

for (let i = 0; i < +process.argv[2]; i++) console.log(round());
