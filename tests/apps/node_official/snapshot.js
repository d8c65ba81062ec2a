// SPDX-License-Identifier: ISC
//
// What a start-up snapshot is made of, and what runs from it.
'use strict';
const { startupSnapshot } = require('v8');
const made = new Date(0).getTime();

startupSnapshot.setDeserializeMainFunction(() => {
  const crypto = require('crypto');
  let left = 20;
  for (let i = 0; i < 20; i++)
    crypto.pbkdf2('word', 'salt', 1000, 32, 'sha256', () => { if (--left === 0) console.log('done', made); });
});
