// SPDX-License-Identifier: ISC
//
// ends.js HOW: a program that ends while the pool has work. What it prints and how it ends must be as
// natively.
const fs = require('bare-fs');

const work = (end) => fs.readFile('/bin/sh', end);
const busy = () => {
  for (let i = 0; i < 20; i++) work(() => {});
};

const ways = {
  normal() {
    let left = 20;
    for (let i = 0; i < 20; i++) work((error) => { if (--left === 0) console.log('read', error); });
    Bare.on('exit', (code) => console.log('exit', code));
  },
  exit() {
    busy();
    fs.stat('/', () => Bare.exit(7));
  },
  code() {
    Bare.exitCode = 9;
    busy();
  },
  exception() {
    busy();
    fs.stat('/', () => { throw new Error('on purpose'); });
  },
  rejection() {
    fs.promises.readFile('/no/such/file');
    busy();
  },
};

ways[Bare.argv[2]]();
