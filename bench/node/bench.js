// SPDX-License-Identifier: ISC
//
// bench.js WHAT: runs it and prints its figures, a line `name value unit` each.
'use strict';
const child = require('child_process');
const crypto = require('crypto');
const fs = require('fs');
const http = require('http');
const os = require('os');
const path = require('path');
const zlib = require('zlib');

const called = (start) => new Promise((resolve, reject) =>
  start((error, result) => error ? reject(error) : resolve(result)));

// `count` calls, so many at a time.
async function inFlight(count, width, one) {
  let next = 0;
  const lane = async () => { while (next < count) await one(next++); };
  await Promise.all(Array.from({ length: width }, lane));
}

function makeTree(folders, files) {
  const top = fs.mkdtempSync(path.join(os.tmpdir(), 'bench-'));
  for (let i = 0; i < folders; i++) {
    const folder = path.join(top, `folder${i}`);
    fs.mkdirSync(folder);
    for (let k = 0; k < files; k++) fs.writeFileSync(path.join(folder, `file${k}`), Buffer.alloc(4096));
  }
  return top;
}

async function walk(folder) {
  await Promise.all((await fs.promises.readdir(folder)).map(async (name) => {
    const one = path.join(folder, name);
    if ((await fs.promises.stat(one)).isDirectory()) await walk(one);
  }));
}

async function measure(run) {
  const wall = process.hrtime.bigint(), cpu = process.cpuUsage();
  await run();
  const used = process.cpuUsage(cpu);
  console.log('wall', (Number(process.hrtime.bigint() - wall) / 1e6).toFixed(2), 'ms');
  console.log('cpu', ((used.user + used.system) / 1e3).toFixed(2), 'ms');
}

async function withTree(folders, files, run) {
  const top = makeTree(folders, files);
  try {
    await run(top);
  } finally {
    fs.rmSync(top, { recursive: true });
  }
}

// The load comes from a process of its own: `client` below.
async function serve(top) {
  const file = (url) => path.join(top, 'folder0', path.basename(url));
  const server = http.createServer((request, response) => fs.readFile(file(request.url), (error, data) => {
    response.statusCode = error ? 404 : 200;
    response.end(data);
  }));
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const client = child.spawn(process.execPath, [__filename, 'client', String(server.address().port)],
    { env: { ...process.env, LD_PRELOAD: '' }, stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  client.stdout.on('data', (data) => { said += data; });
  const cpu = process.cpuUsage();
  await new Promise((resolve) => client.on('close', resolve));
  const used = process.cpuUsage(cpu);
  server.close();
  const latencies = JSON.parse(said).sort((a, b) => a - b);
  const at = (part) => (latencies[Math.floor(latencies.length * part)] * 1000).toFixed(1);
  console.log('cpu', ((used.user + used.system) / latencies.length).toFixed(1), 'us/request');
  console.log('p50', at(0.5), 'us');
  console.log('p99', at(0.99), 'us');
}

function client(port) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });
  const latencies = [];
  const wanted = 3000, rate = 1; // a ms
  const begin = process.hrtime.bigint();
  let sent = 0;
  const now = () => Number(process.hrtime.bigint() - begin) / 1e6;
  const tick = setInterval(() => {
    for (; sent < wanted && sent < now() * rate; sent++) {
      const due = sent / rate; // late requests count from when they were due
      http.get({ host: '127.0.0.1', port, path: `/file${sent % 60}`, agent }, (response) => {
        response.resume();
        response.on('end', () => {
          latencies.push(now() - due);
          if (latencies.length === wanted) {
            console.log(JSON.stringify(latencies));
            agent.destroy();
          }
        });
      });
    }
    if (sent === wanted) clearInterval(tick);
  }, 1);
}

const rows = {
  start: () => {
    const times = [];
    for (let i = 0; i < 10; i++) {
      const begin = process.hrtime.bigint();
      child.spawnSync(process.execPath, ['-e', '0']);
      times.push(Number(process.hrtime.bigint() - begin) / 1e6);
    }
    console.log('wall', Math.min(...times).toFixed(2), 'ms');
  },
  walk: () => withTree(60, 60, (top) => measure(async () => { for (let i = 0; i < 3; i++) await walk(top); })),
  read: () => withTree(1, 64, (top) => measure(() =>
    inFlight(4000, 64, (i) => fs.promises.readFile(path.join(top, 'folder0', `file${i % 64}`))))),
  pbkdf2: () => measure(() =>
    inFlight(400, 64, () => called((end) => crypto.pbkdf2('word', 'salt', 2000, 32, 'sha256', end)))),
  zlib: () => {
    const bytes = Buffer.from(Array.from({ length: 65536 }, (_, i) => (i * i >> 3) & 255));
    return measure(() => inFlight(200, 32, () => called((end) => zlib.gzip(bytes, end))));
  },
  serve: () => withTree(1, 60, serve),
  client: () => client(+process.argv[3]),
};

rows[process.argv[2]]();
