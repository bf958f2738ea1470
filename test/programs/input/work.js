// Buffers, compression, cryptography, streams, worker threads and a large compilation; prints checksums only.
'use strict';
const { createHash, createCipheriv, generateKeyPairSync, createSign, createVerify, pbkdf2Sync } = require('crypto');
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const { pipeline } = require('stream/promises');
const { Readable } = require('stream');
const http = require('http');
const vm = require('vm');
const zlib = require('zlib');

const sha = (x) => createHash('sha256').update(x).digest('hex').slice(0, 24);
const random = ((s) => (n) => (s = (s * 1103515245 + 12345) % 2147483648) % n)(42);

function buffers(rounds) {
  const live = [];
  let sum = 0;
  for (let i = 0; i < rounds; i++) {
    const b = Buffer.allocUnsafeSlow(1 + (i * 7919) % 70000).fill(i & 255);
    live.push(b);
    if (live.length > 200) sum = (sum + live.splice((i * 31) % 200, 1)[0].length) % 1000003;
  }
  return sum + ':' + sha(Buffer.concat(live));
}

function texts() {
  const words = Array.from({ length: 50000 }, () => 'w' + random(4000));
  const count = new Map();
  for (const w of words) count.set(w, (count.get(w) || 0) + 1);
  const text = words.join(' ').replace(/w(\d+) w(\d+)/g, '<$2|$1>');
  const json = JSON.stringify(JSON.parse(JSON.stringify([...count].sort())));
  return sha(text) + sha(json) + sha(zlib.brotliDecompressSync(zlib.brotliCompressSync(text, { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 5 } })));
}

async function streams() {
  const hash = createHash('sha256');
  const chunks = (function* () { for (let i = 0; i < 600; i++) yield Buffer.alloc(4096 + i * 13, i & 255); })();
  const key = Buffer.alloc(32, 7);
  await pipeline(Readable.from(chunks), zlib.createGzip({ level: 6 }), createCipheriv('aes-256-ctr', key, Buffer.alloc(16, 1)), hash);
  return hash.digest('hex').slice(0, 24);
}

function compilation() {
  let source = 'let t = 0;\n';
  for (let i = 0; i < 4000; i++) source += `function f${i}(a, b) { const o = { x: a + ${i}, y: [b, "${i}"] }; return o.x * ${i % 13} + o.y.length; }\nt += f${i}(${i}, t % 7);\n`;
  return vm.runInNewContext(source + 't');
}

function signatures() {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  let good = 0;
  for (let i = 0; i < 60; i++) {
    const s = createSign('SHA256').update('m' + i).sign(privateKey);
    if (createVerify('SHA256').update('m' + i).verify(publicKey, s)) good++;
  }
  return good + sha(pbkdf2Sync('p', 's', 20000, 64, 'sha512'));
}

async function requests() {
  const server = http.createServer((q, r) => { let n = 0; q.on('data', (d) => { n += d.length; }).on('end', () => r.end(`${q.url} ${n}`)); });
  await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
  const one = (i) => new Promise((ok, bad) => {
    http.request({ port: server.address().port, path: '/' + i, method: 'POST' }, (r) => { let s = ''; r.on('data', (d) => { s += d; }).on('end', () => ok(s)); })
      .on('error', bad).end('x'.repeat(i * 97));
  });
  const answers = [];
  for (let i = 0; i < 400; i += 20) answers.push(...await Promise.all(Array.from({ length: 20 }, (_, k) => one(i + k))));
  server.close();
  return sha(answers.join('\n'));
}

async function workers() {
  const run = (id) => new Promise((ok, bad) => new Worker(__filename, { workerData: id }).on('message', ok).on('error', bad));
  const answers = [];
  for (let i = 0; i < 16; i += 4) answers.push(...await Promise.all([0, 1, 2, 3].map((k) => run(i + k))));
  return sha(answers.map((a) => `${a.id} ${a.text} ${sha(a.data)}`).join('\n'));
}

async function main() {
  const rounds = +process.argv[2] || 1;
  for (let i = 0; i < rounds; i++) console.log(i, buffers(8000), texts(), await streams(), compilation(), signatures(), await requests(), await workers());
}

if (isMainThread) {
  main().catch((e) => { console.error(e); process.exit(1); });
} else {
  // What this thread allocates is transferred, and freed by another.
  const data = new Uint8Array(300000 + workerData * 1000).fill(workerData);
  parentPort.postMessage({ id: workerData, text: texts() + buffers(1500), data }, [data.buffer]);
}
