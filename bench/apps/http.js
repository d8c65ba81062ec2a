// SPDX-License-Identifier: ISC
// http.js serve FOLDER PORTFILE: a server of a folder's files, until it is asked for /end. It then prints what it has
// used since /begin: microseconds of CPU, context switches, and the bytes that it has sent.
// http.js ask PORTFILE RATE SECONDS: asks it at a fixed rate, and prints how long the answers took. A request that is
// late counts from when it was due.
'use strict';
const fs = require('fs');
const http = require('http');
const path = require('path');

function used() {
  const usage = process.resourceUsage();
  return { cpu: usage.userCPUTime + usage.systemCPUTime,
           switches: usage.voluntaryContextSwitches + usage.involuntaryContextSwitches };
}

function serve(folder, portFile) {
  let before, bytes = 0;
  const server = http.createServer((request, response) => {
    if (request.url === '/begin') {
      before = used();
      response.end();
    } else if (request.url === '/end') {
      const after = used();
      console.log(JSON.stringify({ cpu: after.cpu - before.cpu, switches: after.switches - before.switches, bytes }));
      response.end(() => process.exit(0));
    } else {
      fs.readFile(path.join(folder, path.basename(request.url)), (error, data) => {
        if (error) response.statusCode = 404;
        else bytes += data.length;
        response.end(data);
      });
    }
  });
  server.keepAliveTimeout = 0; // a client that gets no CPU for seconds is not sent away
  server.listen(0, '127.0.0.1', () => {
    fs.writeFileSync(portFile + '.new', String(server.address().port));
    fs.renameSync(portFile + '.new', portFile);
  });
}

async function portOf(file) {
  for (let i = 0; i < 300; i++) {
    if (fs.existsSync(file)) return Number(fs.readFileSync(file, 'utf8'));
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error('no server');
}

async function ask(portFile, rate, seconds) {
  const port = await portOf(portFile);
  const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });
  const get = (what) => new Promise((resolve, reject) => {
    http.get({ host: '127.0.0.1', port, path: what, agent }, (response) => {
      response.resume();
      response.on('end', resolve);
    }).on('error', reject);
  });
  const wanted = rate * seconds, latencies = [], answers = [];
  for (let i = 0; i < 200; i++) await get(`/file-${String(i % 60).padStart(2, '0')}`); // warm
  await get('/begin');
  const begin = process.hrtime.bigint();
  const now = () => Number(process.hrtime.bigint() - begin) / 1e6;
  while (answers.length < wanted) {
    for (; answers.length < wanted && answers.length * 1000 / rate <= now();) {
      const due = answers.length * 1000 / rate;
      answers.push(get(`/file-${String(answers.length % 60).padStart(2, '0')}`)
        .then(() => latencies.push(now() - due)));
    }
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await Promise.all(answers);
  await get('/end');
  agent.destroy();
  latencies.sort((a, b) => a - b);
  const at = (part) => 1000 * latencies[Math.floor(latencies.length * part)];
  console.log(JSON.stringify({ requests: wanted, p50: at(0.5), p99: at(0.99) }));
}

if (process.argv[2] === 'serve') serve(process.argv[3], process.argv[4]);
else ask(process.argv[3], Number(process.argv[4]), Number(process.argv[5]));
