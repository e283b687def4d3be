// A publisher and a subscriber as an application in JavaScript would write them, with @grpc/grpc-js, which shares no
// code with python3-grpcio.  Each keeps a journal of its own and goes on from it after it was killed.
//
// usage: flow.js publish    PROTO HOST:PORT CA CERT KEY TENANT STREAM JOURNAL SIZE RATE
//        flow.js subscribe  PROTO HOST:PORT CA CERT KEY TENANT STREAM JOURNAL
//
// The publisher's journal: "h SEQ" before a message is handed to the node, "c SEQ ID" when it is confirmed.  After
// "begin PID" it can be told by SIGTERM to hand over nothing new: it ends when all is confirmed, with "end SEQ".
// The subscriber's journal: "SEQ ID SHA256" for each message, written before it is acknowledged.
'use strict';
const crypto = require('node:crypto');
const fs = require('node:fs');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const [role, proto, address, ca, cert, key, tenant, stream, journal, size, rate] = process.argv.slice(2);
const WINDOW = 256;
const PAUSE_MS = 50;
const TICK_MS = 20;
const DIGITS = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const RETRIED = [grpc.status.UNAVAILABLE, grpc.status.CANCELLED, grpc.status.UNKNOWN, grpc.status.INTERNAL,
  grpc.status.ABORTED];

const mesh = grpc.loadPackageDefinition(
  loader.loadSync(proto, { longs: Number, keepCase: true, defaults: true })).mesh.v1;
const credentials = grpc.credentials.createSsl(...[ca, key, cert].map((path) => fs.readFileSync(path)));
const options = { 'grpc.initial_reconnect_backoff_ms': 50, 'grpc.max_reconnect_backoff_ms': 500 };

const fail = (why) => {
  console.error(`flow.js ${role} ${stream}: ${why}`);
  process.exit(1);
};

// Whole lines of the journal; what a kill has left of the last one is cut off.
const readJournal = () => {
  const text = fs.existsSync(journal) ? fs.readFileSync(journal, 'utf8') : '';
  const whole = text.slice(0, text.lastIndexOf('\n') + 1);
  if (whole.length !== text.length) fs.truncateSync(journal, whole.length);
  return whole.split('\n').slice(0, -1).map((line) => line.split(' '));
};

// As tests/system/flow.py makes them: what a message is can be told from its number.
const payload = (seq) => {
  const head = Buffer.from(`${stream} ${seq} `);
  const body = crypto.createHash('sha256').update(head).digest();
  const parts = [head];
  for (let n = head.length; n < Number(size); n += body.length) parts.push(body);
  return Buffer.concat(parts).subarray(0, Number(size));
};
const messageId = (seq) => {
  let text = '';
  for (let n = seq; n > 0; n = Math.floor(n / 32)) text = DIGITS[n % 32] + text;
  return '01M7YT0305' + text.padStart(16, '0');
};

// Calls begin() again and again: it makes a call, whose end is what is waited for.
const retry = (begin) => {
  let over = false;
  const call = begin();
  const again = (e) => {
    if (over) return;
    over = true;
    if (e && !RETRIED.includes(e.code)) fail(`${e.code} ${e.details}`);
    setTimeout(() => retry(begin), PAUSE_MS);
  };
  call.on('error', again);
  call.on('end', () => again(null));
};

const publish = (client, fd, lines) => {
  let handed = 0;
  let confirmed = 0;
  let finishing = false;
  let session = 0;
  for (const [kind, seq] of lines) {
    if (kind === 'h') handed = Number(seq);
    if (kind === 'c') confirmed = Number(seq);
  }
  const endMaybe = () => {
    if (!finishing || confirmed < handed || handed === 0) return;
    fs.writeSync(fd, `end ${handed}\n`);
    process.exit(0);
  };
  process.on('SIGTERM', () => { finishing = true; endMaybe(); });
  fs.writeSync(fd, `begin ${process.pid}\n`);
  retry(() => {
    const mine = ++session;
    const call = client.PublishClientDataStream();
    let sent = confirmed;
    let due = 0;
    const timer = setInterval(() => {
      if (mine !== session) { clearInterval(timer); return; }
      due = Math.min(due + Number(rate) * TICK_MS / 1000, WINDOW);
      for (; due >= 1 && sent - confirmed < WINDOW; due--) {
        if (sent === handed && finishing && handed > 0) break;
        sent++;
        if (sent > handed) {
          handed = sent;
          fs.writeSync(fd, `h ${sent}\n`);
        }
        call.write({ stream_id: stream, seq: sent, message_id: messageId(sent), payload: payload(sent) });
      }
    }, TICK_MS);
    call.on('data', (r) => {
      if (mine !== session) return;
      if (!r.success) fail(`message ${r.seq}: ${r.error}`);
      if (r.seq !== confirmed + 1) fail(`confirmed ${r.seq} after ${confirmed}`);
      confirmed = r.seq;
      fs.writeSync(fd, `c ${r.seq} ${r.message_id}\n`);
      endMaybe();
    });
    const over = () => clearInterval(timer);
    call.on('error', over);
    call.on('end', over);
    return call;
  });
};

const subscribe = (client, fd, lines) => {
  let position = lines.length > 0 ? Number(lines[lines.length - 1][0]) : 0;
  retry(() => {
    const call = client.SubscribeClientData();
    let over = false;
    let taken = 0;
    let bytes = 0;
    const end = () => { over = true; };
    call.on('error', end);
    call.on('end', end);
    call.on('data', (m) => {
      if (over) return;
      const hash = crypto.createHash('sha256').update(m.payload).digest('hex');
      fs.writeSync(fd, `${m.seq} ${m.message_id} ${hash}\n`);
      position = m.seq;
      taken++;
      bytes += m.payload.length;
      const update = { acks: [{ stream_id: stream, seq: m.seq }] };
      if (taken >= 32) {
        update.window = { messages: taken, bytes };
        taken = bytes = 0;
      }
      call.write(update);
    });
    call.write({ tenant_id: tenant, stream_ids: [stream], window: { messages: 128, bytes: 1 << 26 },
      resume: position > 0 ? [{ stream_id: stream, seq: position }] : [] });
    return call;
  });
};

const lines = readJournal();
const fd = fs.openSync(journal, 'a');
if (role === 'publish') publish(new mesh.MeshService(address, credentials, options), fd, lines);
else if (role === 'subscribe') subscribe(new mesh.MeshDataService(address, credentials, options), fd, lines);
else fail('usage');
