// SPDX-License-Identifier: ISC
'use strict';
process.dlopen({ exports: {} }, require('path').join(__dirname, 'addon.node'));
