// SPDX-License-Identifier: ISC
//
// ends.js HOW: a program that ends while the pool has work. What it prints and how it ends must be
// as natively.
'use strict';
const child = require('child_process');
const cluster = require('cluster');
const crypto = require('crypto');
const fs = require('fs');

const work = (iterations, end) => crypto.pbkdf2('word', 'salt', iterations, 32, 'sha256', end);
const report = (what) => (error, result) =>
  console.log(what, error ? error.code : Buffer.from(result).toString('hex').slice(0, 16));

const ways = {
  normal() {
    for (let i = 0; i < 20; i++) work(1000 + i, (error) => process.stdout.write(error ? 'e' : '.'));
    process.on('exit', (code) => console.log('exit', code));
  },
  exit() {
    for (let i = 0; i < 20; i++) work(10000, () => {});
    work(10, () => process.exit(7));
  },
  code() {
    process.exitCode = 9;
    work(1000, report('last'));
  },
  exception() {
    for (let i = 0; i < 20; i++) work(10000, () => {});
    work(10, () => { throw new Error('on purpose'); });
  },
  rejection() {
    fs.promises.readFile('/no/such/file');
    for (let i = 0; i < 20; i++) work(1000, () => {});
  },
  signal() {
    for (let i = 0; i < 20; i++) work(10000, () => {});
    work(10, () => process.kill(process.pid, 'SIGTERM'));
    setInterval(() => {}, 1000);
  },
  abort() {
    work(10, () => process.abort());
  },
  spawn() {
    const said = [];
    for (let i = 0; i < 3; i++) {
      const one = child.spawn(process.execPath, [__filename, 'code']);
      one.stdout.on('data', (data) => said.push(data.toString()));
      one.on('close', (code) => said.push(`child ${code}`));
    }
    process.on('exit', () => console.log(said.sort().join()));
    for (let i = 0; i < 8; i++) work(1000, () => {});
  },
  fork() {
    if (process.send) {
      process.on('message', (n) => work(n, (error, key) => {
        process.send(key.toString('hex'));
        process.disconnect();
      }));
      return;
    }
    const one = child.fork(__filename, ['fork']);
    one.on('message', (key) => console.log('key', key));
    one.on('exit', (code) => console.log('child', code));
    one.send(5000);
  },
  sync() {
    console.log(child.execFileSync(process.execPath, [__filename, 'normal']).toString().trim());
  },
  cluster() {
    if (cluster.isPrimary) {
      const codes = [];
      for (let i = 0; i < 3; i++) cluster.fork();
      cluster.on('exit', (worker, code) => {
        codes.push(code);
        if (codes.length === 3) console.log('workers', codes.join(' '));
      });
      return;
    }
    let left = 30;
    for (let i = 0; i < 30; i++) work(500, () => { if (--left === 0) process.exit(3); });
  },
};

ways[process.argv[2]]();
