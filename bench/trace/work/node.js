// A small service, in rounds until it has done as many as it was told: the
// main thread compresses, hashes, parses and answers HTTP on a unix socket in
// its directory, while two workers are sent objects and buffers and send others
// back. What of this is V8's heap does not come from malloc; the C++ around
// it does: streams, handles, serialised messages, zones of the compiler.
'use strict';
const {Worker, isMainThread, parentPort} = require('worker_threads');
const crypto = require('crypto');
const fs = require('fs');
const http = require('http');
const zlib = require('zlib');

function record(i) {
  return {id: i, name: 'record ' + i, tags: ['a' + i % 7, 'b' + i % 11],
          body: Buffer.alloc(64 + i * 37 % 4000, i % 256)};
}

function answerMessages() {
  parentPort.on('message', (batch) => {
    const sums = batch.map(({name, body}) =>
      ({name, sum: crypto.createHash('sha1').update(body).digest()}));
    parentPort.postMessage(sums);
  });
}

function transform(i) {
  const text = Buffer.from(JSON.stringify(record(i)).repeat(1 + i % 3));
  const packed = zlib.deflateRawSync(text, {level: 1, memLevel: 5,
                                            windowBits: 10});
  const url = new URL(`http://host${i % 50}.example/path/${i}?q=${packed.length}`);
  new TextDecoder('utf-16le').decode(text);
  fs.statSync('.');
  return crypto.createHmac('sha256', url.host).update(packed).digest('hex');
}

function ask(socketPath, agent, i) {
  return new Promise((resolve, reject) => {
    http.get({socketPath, agent, path: '/' + i}, (response) => {
      response.on('data', () => {});
      response.on('end', resolve);
    }).on('error', reject);
  });
}

function askWorker(worker, i) {
  return new Promise((resolve) => {
    worker.once('message', resolve);
    worker.postMessage(Array.from({length: 20}, (_, k) => record(i + k)));
  });
}

async function main(rounds) {
  const workers = [new Worker(__filename), new Worker(__filename)];
  const agent = new http.Agent({keepAlive: true, maxSockets: 4});
  const server = http.createServer((request, response) => {
    response.setHeader('X-Digest', transform(request.url.length));
    response.end(JSON.stringify(record(request.url.length)));
  });
  await new Promise((resolve) => server.listen('node.sock', resolve));
  for (let i = 0; i < rounds; i++) {
    const work = workers.map((worker) => askWorker(worker, i));
    for (let k = 0; k < 10; k++) {
      transform(i + k);
      work.push(ask('node.sock', agent, i * 10 + k));
    }
    await Promise.all(work);
  }
  await Promise.all(workers.map((worker) => worker.terminate()));
  server.close();
  agent.destroy();
}

if (isMainThread) main(Number(process.argv[2]));
else answerMessages();
