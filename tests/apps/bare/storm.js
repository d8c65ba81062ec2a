// SPDX-License-Identifier: ISC
//
// What goes through libuv's thread pool in Bare: files and names, many at once; each result against
// the synchronous call. In the main thread and in three others, whose loops are their own; then
// threads that are ended in the middle of work.
const dns = require('bare-dns');
const fs = require('bare-fs');
const Thread = require('bare-thread');

const FILES = 200;
const { isMainThread } = Bare.Thread;

const check = (truth, what) => {
  if (!truth) throw new Error('wrong: ' + what);
};
const many = (count, one) => Promise.all(Array.from({ length: count }, (_, i) => one(i)));

async function files(folder, bytes) {
  fs.mkdirSync(folder);
  await many(FILES, async (i) => {
    const file = `${folder}/file${i}`;
    await fs.promises.writeFile(file, bytes);
    check((await fs.promises.readFile(file)).equals(bytes), 'read');
    check((await fs.promises.stat(file)).size === bytes.length, 'stat');
    await fs.promises.rename(file, file + '.moved');
    await fs.promises.unlink(file + '.moved');
  });
  check((await fs.promises.readdir(folder)).length === 0, 'readdir');
  fs.rmdirSync(folder);
  const error = await fs.promises.readFile(folder + '/none').then(() => null, (error) => error);
  check(error && error.code === 'ENOENT', 'error');
  check((await fs.promises.readdir('/etc')).length === fs.readdirSync('/etc').length, '/etc');
}

const name = () => new Promise((resolve) => dns.lookup('localhost', (error, address) => {
  check(!error && ['127.0.0.1', '::1'].includes(address), 'name');
  resolve();
}));

async function all(folder, number) {
  await files(`${folder}/storm-${number}`, Buffer.alloc(20000, number + 1));
  await many(20, name);
}

// Reads until it is ended.
function busy() {
  const again = () => fs.readFile('/bin/sh', again);
  for (let i = 0; i < 20; i++) again();
}

async function main() {
  const folder = Bare.argv[2];
  const start = (number) => new Thread(__filename, { data: { folder, number } });
  await all(folder, 0);
  const threads = [1, 2, 3].map(start);
  await all(folder, 4);
  threads.forEach((thread) => thread.join());
  check(fs.readdirSync(folder).filter((name) => name.startsWith('ended')).length === 3, 'threads');
  for (let i = 0; i < 5; i++) {
    const thread = start(0);
    while (!fs.existsSync(`${folder}/busy`)) await fs.promises.readFile('/bin/sh');
    fs.unlinkSync(`${folder}/busy`);
    thread.terminate();
    thread.join();
  }
  console.log('all ok');
}

function inThread({ folder, number }) {
  if (number === 0) {
    busy();
    fs.writeFileSync(`${folder}/busy`, '');
  } else {
    all(folder, number).then(() => fs.writeFileSync(`${folder}/ended${number}`, ''));
  }
}

if (isMainThread) main();
else inThread(Bare.Thread.self.data);
