// SPDX-License-Identifier: ISC
//
// Everything of Node.js that goes through libuv's thread pool, at once: files, compression,
// cryptography, names, random; each result against the synchronous call. In the main thread and in
// three others, whose loops are their own; then threads that are ended in the middle of work.
'use strict';
const assert = require('assert');
const crypto = require('crypto');
const dns = require('dns');
const fs = require('fs');
const os = require('os');
const path = require('path');
const zlib = require('zlib');
const { Worker, isMainThread } = require('worker_threads');

const FILES = 300;
const JOBS = 40;
const program = process.execPath;

const called = (start) => new Promise((resolve, reject) =>
  start((error, result) => error ? reject(error) : resolve(result)));
const many = (count, one) => Promise.all(Array.from({ length: count }, (_, i) => one(i)));

async function files(bytes) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'storm-'));
  await many(FILES, async (i) => {
    const file = path.join(folder, `file${i}`);
    await fs.promises.writeFile(file, bytes);
    assert((await fs.promises.readFile(file)).equals(bytes));
    assert.strictEqual((await fs.promises.stat(file)).size, bytes.length);
    await fs.promises.rename(file, file + '.moved');
    await fs.promises.unlink(file + '.moved');
  });
  await assert.rejects(fs.promises.readFile(path.join(folder, 'none')), { code: 'ENOENT' });
  fs.rmdirSync(folder);
  let count = 0;
  for await (const entry of await fs.promises.opendir('/etc')) count += entry.name.length > 0;
  assert.strictEqual(count, fs.readdirSync('/etc').length);
}

async function computing(bytes) {
  for (const packed of await many(JOBS, () => called((end) => zlib.gzip(bytes, end))))
    assert(zlib.gunzipSync(packed).equals(bytes));
  const key = ['word', 'salt', 2000, 32, 'sha256'];
  const wanted = crypto.pbkdf2Sync(...key);
  for (const got of await many(JOBS, () => called((end) => crypto.pbkdf2(...key, end))))
    assert(got.equals(wanted));
  assert((await called((end) => crypto.scrypt('word', 'salt', 32, end)))
    .equals(crypto.scryptSync('word', 'salt', 32)));
  assert.strictEqual((await called((end) => crypto.randomBytes(1000, end))).length, 1000);
  await called((end) => crypto.generateKeyPair('ec', { namedCurve: 'P-256' }, end));
}

async function names() {
  for (const found of await many(20, () => dns.promises.lookup('localhost')))
    assert(['127.0.0.1', '::1'].includes(found.address));
  await dns.promises.lookupService('127.0.0.1', 80).catch(() => {});
}

// Reads that are given up are cancelled in the pool.
async function givenUp() {
  await many(50, async () => {
    const control = new AbortController();
    const read = fs.promises.readFile(program, { signal: control.signal });
    setImmediate(() => control.abort());
    await read.catch((error) => assert.strictEqual(error.name, 'AbortError'));
  });
}

async function streams() {
  const hash = (bytes) => crypto.createHash('sha1').update(bytes).digest('hex');
  const parts = [];
  for await (const part of fs.createReadStream('/bin/ls')) parts.push(part);
  assert.strictEqual(hash(Buffer.concat(parts)), hash(fs.readFileSync('/bin/ls')));
}

async function all() {
  const bytes = crypto.randomBytes(65536);
  await files(bytes);
  await computing(bytes);
  await names();
  await givenUp();
  await streams();
}

const ended = (worker) => new Promise((resolve, reject) => {
  worker.on('error', reject);
  worker.on('exit', (code) => code ? reject(new Error(`exit ${code}`)) : resolve());
});

const BUSY = `
  const crypto = require('crypto'), fs = require('fs'), { parentPort } = require('worker_threads');
  for (let i = 0; i < 20; i++) {
    crypto.pbkdf2('word', 'salt', 100000, 32, 'sha256', () => {});
    fs.readFile(process.execPath, () => {});
  }
  parentPort.postMessage('busy');`;

async function main() {
  await all();
  await many(3, () => ended(new Worker(__filename)));
  for (let i = 0; i < 5; i++) {
    const worker = new Worker(BUSY, { eval: true });
    await new Promise((resolve) => worker.once('message', resolve));
    await worker.terminate();
  }
  console.log('all ok');
}

(isMainThread ? main() : all()).catch((error) => {
  console.error(error);
  process.exit(1);
});
