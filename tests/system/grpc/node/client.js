// The API as @grpc/grpc-js speaks it: another implementation of gRPC and HTTP/2 than python3-grpcio's.
//
// usage: client.js PROTO HOST:PORT CA CERT KEY TOKEN UNIX-ADDRESS
'use strict';
const assert = require('node:assert');
const fs = require('node:fs');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const [proto, address, ca, cert, key, token, unix] = process.argv.slice(2);
const mesh = grpc.loadPackageDefinition(
  loader.loadSync(proto, { longs: Number, keepCase: true, defaults: true })).mesh.v1;
const roots = fs.readFileSync(ca);
const mutual = grpc.credentials.createSsl(roots, fs.readFileSync(key), fs.readFileSync(cert));
const bearer = grpc.credentials.combineChannelCredentials(
  grpc.credentials.createSsl(roots),
  grpc.credentials.createFromMetadataGenerator((params, done) => {
    const m = new grpc.Metadata();
    m.set('authorization', `Bearer ${token}`);
    done(null, m);
  }));

const soon = (ms = 10000) => ({ deadline: Date.now() + ms });
const unary = (client, method, request, options = soon()) =>
  new Promise((done, fail) => client[method](request, options, (e, r) => (e ? fail(e) : done(r))));
const expect = async (code, promise) => {
  const error = await promise.then(() => null, (e) => e);
  assert.strictEqual(error?.code, code, `${error?.code} ${error?.details}`);
  return error;
};
const collect = (call) => new Promise((done, fail) => {
  const out = [];
  call.on('data', (d) => out.push(d));
  call.on('end', () => done(out));
  call.on('error', fail);
});

const tests = {
  async unary_over_tls_with_certificate() {
    const c = new mesh.MeshService(address, mutual);
    const r = await unary(c, 'PublishClientData', { stream_id: 's', seq: 4, payload: Buffer.from('four') });
    assert.deepStrictEqual([r.success, r.seq, r.error], [true, 4, '4']);
    c.close();
  },

  async unary_with_token_and_over_the_unix_socket() {
    for (const c of [new mesh.MeshService(address, bearer), new mesh.MeshService(unix, grpc.credentials.createInsecure())]) {
      assert.ok((await unary(c, 'PublishClientData', { seq: 1 })).success);
      c.close();
    }
  },

  async nobody_is_refused() {
    const c = new mesh.MeshService(address, grpc.credentials.createSsl(roots));
    const e = await expect(grpc.status.UNAUTHENTICATED, unary(c, 'GetMeshStatus', {}));
    assert.match(e.details, /no client certificate and no bearer token/);
    c.close();
  },

  async statuses() {
    const c = new mesh.MeshService(address, mutual);
    const e = await expect(grpc.status.FAILED_PRECONDITION, unary(c, 'PublishClientData', { tenant_id: 'fail' }));
    assert.strictEqual(e.details, "tenant 'fail' has no key: 100 % sicher, größer\n");
    await expect(grpc.status.DEADLINE_EXCEEDED, unary(c, 'PublishClientData', { tenant_id: 'silent' }, soon(200)));
    await expect(grpc.status.RESOURCE_EXHAUSTED,
      unary(c, 'PublishClientData', { payload: Buffer.alloc(4 * 1024 * 1024 + 1) }));
    const call = c.PublishClientData({ tenant_id: 'silent' }, soon(), () => {});
    const ended = new Promise((done) => call.on('status', (s) => done(s.code)));
    setTimeout(() => call.cancel(), 50);
    assert.strictEqual(await ended, grpc.status.CANCELLED);
    c.close();
  },

  async many_at_once() {
    const c = new mesh.MeshService(address, mutual);
    const all = await Promise.all(Array.from({ length: 1000 }, (_, i) => unary(c, 'PublishClientData', { seq: i + 1 })));
    all.forEach((r, i) => assert.strictEqual(r.seq, i + 1));
    c.close();
  },

  async publish_stream() {
    const c = new mesh.MeshService(address, mutual);
    const call = c.PublishClientDataStream(soon(30000));
    const results = collect(call);
    for (let i = 1; i <= 2000; i++) {
      if (!call.write({ stream_id: 's', seq: i, payload: Buffer.alloc(i) }))
        await new Promise((done) => call.once('drain', done));
    }
    call.end();
    const got = await results;
    assert.strictEqual(got.length, 2000);
    got.forEach((r, i) => assert.deepStrictEqual([r.seq, r.error], [i + 1, String(i + 1)]));
    c.close();
  },

  async publish_stream_is_held_without_loss() {
    const c = new mesh.MeshService(address, mutual);
    const call = c.PublishClientDataStream(soon(30000));
    const results = collect(call);
    for (let i = 1; i <= 40; i++) {
      if (!call.write({ stream_id: 'hold', tenant_id: 'hold', seq: i, payload: Buffer.alloc(300000) }))
        await new Promise((done) => call.once('drain', done));
    }
    call.end();
    assert.deepStrictEqual((await results).map((r) => r.seq), Array.from({ length: 40 }, (_, i) => i + 1));
    c.close();
  },

  async subscribe_and_ack() {
    const c = new mesh.MeshDataService(address, bearer);
    const call = c.SubscribeClientData(soon());
    const seqs = [];
    const acked = new Promise((done, fail) => {
      call.on('error', (e) => (e.code === grpc.status.CANCELLED ? done() : fail(e)));
      call.on('data', (d) => {
        if (d.message_id === 'acked') {
          assert.strictEqual(d.seq, 500);
          call.cancel();
          return;
        }
        seqs.push(d.seq);
        if (seqs.length === 500)
          call.write({ acks: [{ stream_id: 's', seq: 500 }] });
      });
    });
    call.write({ tenant_id: 'count', node_ids: ['500'] });
    await acked;
    assert.deepStrictEqual(seqs, Array.from({ length: 500 }, (_, i) => i + 1));
    c.close();
  },

  async control_group() {
    const c = new mesh.MeshService(address, mutual);
    await expect(grpc.status.FAILED_PRECONDITION, unary(c, 'StopMesh', {}));
    const m = await unary(c, 'SeedMesh', { name: 'm' });
    assert.deepStrictEqual([m.raft_groups.length, m.raft_groups[0].group_type], [1, 'MCG']);
    await expect(grpc.status.NOT_FOUND, unary(c, 'EvictNode', { node_id: 'nobody' }));
    assert.strictEqual((await unary(c, 'SetMeshSettings', { description: 'größer' })).description, 'größer');
    const payload = Buffer.alloc(1024 * 1024);
    const r = await unary(c, 'SendMeshUpdate', { type: 't', payload, wait: { mode: 'quorum' } });
    assert.deepStrictEqual([r.success, r.index, r.applied_nodes.length], [true, payload.length, 2]);
    assert.strictEqual((await unary(c, 'SetConfig', { key: 'k', value: '1' })).version, 1);
    assert.strictEqual((await unary(c, 'GetConfig', { key: 'k' })).entries[0].value, '1');
    c.close();
  },

  async follow_and_ack() {
    const c = new mesh.MeshDataService(address, bearer);
    for (const method of ['SubscribeNodeUpdates', 'SubscribeMeshUpdates', 'SubscribeInternalDBUpdates']) {
      const call = c[method](soon(30000));
      const positions = [];
      const ended = new Promise((done, fail) => {
        call.on('error', (e) => (e.code === grpc.status.CANCELLED ? done() : fail(e)));
        call.on('data', (u) => {
          positions.push(u.position);
          if (positions.length % 5 === 0)
            call.write({ ack: u.position });
          if (positions.length === 50)
            call.cancel();
        });
      });
      call.write({ subscriber: 'app', from: 10, window: 5 });
      await ended;
      assert.deepStrictEqual(positions, Array.from({ length: 50 }, (_, i) => i + 11));
    }
    c.close();
  },
};

(async () => {
  let failed = 0;
  for (const [name, fn] of Object.entries(tests)) {
    const begin = Date.now();
    try {
      await fn();
      console.log(`  ok    ${`grpc-js.${name}`.padEnd(50)} ${((Date.now() - begin) / 1000).toFixed(2).padStart(6)} s`);
    } catch (e) {
      failed++;
      console.log(`  FAIL  grpc-js.${name}\n${e.stack}`);
    }
  }
  process.exit(failed ? 1 : 0);
})();
