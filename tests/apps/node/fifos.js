// SPDX-License-Identifier: ISC
// Three opens of FIFOs that nobody writes to block three of the pool's four threads; a stat must get through. Then the
// writers come.
'use strict';
const fs = require('fs');
const {execFileSync} = require('child_process');

const names = ['fifo0', 'fifo1', 'fifo2'];
execFileSync('mkfifo', names);
let opened = 0;
for (const name of names) {
  fs.open(name, 'r', (error, file) => {
    if (error) throw error;
    fs.closeSync(file);
    if (++opened === names.length) console.log('all are open');
  });
}
fs.stat('.', (error, stat) => {
  if (error) throw error;
  console.log(`stat got through: ${stat.isDirectory()}, ${opened} open`);
  for (const name of names) fs.closeSync(fs.openSync(name, 'w'));
});
