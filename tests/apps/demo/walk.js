// SPDX-License-Identifier: ISC
// walk.js FOLDER ROUNDS: looks at all files of a folder, many at a time, and prints a digest of names and sizes.
// Node.js does this in libuv's thread pool.
'use strict';
const crypto = require('crypto');
const fs = require('fs');
const path = require('path');

const found = [];
let pending = 0;
let rounds = Number(process.argv[3]);
const digest = crypto.createHash('sha256');

function done(error) {
  if (error) throw error;
  if (--pending > 0) return;
  found.sort();
  digest.update(found.join('\n'));
  if (--rounds > 0) {
    found.length = 0;
    lookInto(process.argv[2]);
  } else {
    console.log(`${found.length} files, ${digest.digest('hex')}`);
  }
}

function lookAt(name) {
  pending++;
  fs.stat(name, (error, stat) => {
    if (!error) found.push(`${name} ${stat.size}`);
    done(error);
  });
}

function lookInto(folder) {
  pending++;
  fs.readdir(folder, {withFileTypes: true}, (error, entries) => {
    for (const entry of entries || []) {
      const name = path.join(folder, entry.name);
      if (entry.isDirectory()) lookInto(name);
      else lookAt(name);
    }
    done(error);
  });
}

lookInto(process.argv[2]);
