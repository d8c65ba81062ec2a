// SPDX-License-Identifier: ISC
// Everything of Node.js that uses libuv's pool: zlib, crypto, files, dns.lookup. Prints what it found, in an order
// that does not depend on who finished first.
'use strict';
const crypto = require('crypto');
const dns = require('dns').promises;
const fs = require('fs').promises;
const path = require('path');
const util = require('util');
const zlib = require('zlib');

const sha = (data) => crypto.createHash('sha256').update(data).digest('hex').slice(0, 16);

async function compress(i) {
  const text = Buffer.from(`line ${i}\n`.repeat(2000 + i * 100));
  const packed = await util.promisify(zlib.deflate)(text);
  const unpacked = await util.promisify(zlib.inflate)(packed);
  return `zlib ${i} ${sha(packed)} ${unpacked.equals(text)}`;
}

async function derive(i) {
  const key = await util.promisify(crypto.pbkdf2)(`password${i}`, 'salt', 2000, 32, 'sha512');
  return `pbkdf2 ${i} ${sha(key)}`;
}

async function scrypt(i) {
  const key = await util.promisify(crypto.scrypt)(`password${i}`, 'salt', 32, {N: 1024});
  return `scrypt ${i} ${sha(key)}`;
}

async function makeTree(top) {
  for (let i = 0; i < 10; i++) {
    await fs.mkdir(path.join(top, `d${i}`), {recursive: true});
    await Promise.all(Array.from({length: 30}, (_, j) =>
      fs.writeFile(path.join(top, `d${i}`, `f${j}`), `file ${i} ${j}\n`.repeat(j))));
  }
}

async function walk(folder) {
  const entries = await fs.readdir(folder, {withFileTypes: true});
  const found = await Promise.all(entries.map(async (entry) => {
    const name = path.join(folder, entry.name);
    if (entry.isDirectory()) return walk(name);
    const [stat, data] = await Promise.all([fs.stat(name), fs.readFile(name)]);
    return [`${name} ${stat.size} ${sha(data)}`];
  }));
  return found.flat();
}

async function main() {
  await makeTree('tree');
  const parts = [];
  for (let i = 0; i < 12; i++) parts.push(compress(i), derive(i), scrypt(i));
  parts.push(walk('tree'), walk('tree'));
  parts.push(dns.lookup('127.0.0.1').then((found) => `lookup ${found.address}`));
  parts.push(dns.lookup('localhost', {family: 4}).then((found) => `lookup ${found.address}`));
  parts.push(util.promisify(crypto.randomBytes)(1000).then((bytes) => `random ${bytes.length}`));
  const lines = (await Promise.all(parts)).flat();
  lines.sort();
  console.log(lines.join('\n'));
}

main().catch((error) => { console.error(error); process.exit(1); });
