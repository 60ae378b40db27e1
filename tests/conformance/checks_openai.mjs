// Every endpoint through Node's official client. node checks_openai.mjs URL KEY FOLDER → JSON as checks_openai.py.
// FOLDER: where node_modules lies.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [url, key, folder] = process.argv.slice(2);
const require = createRequire(pathToFileURL(`${folder}/x.js`));
const openai = require("openai");
const OpenAI = openai.OpenAI ?? openai.default ?? openai;
const { version } = require(`${folder}/node_modules/openai/package.json`);
const client = new OpenAI({ baseURL: url, apiKey: key, maxRetries: 0, timeout: 60_000 });
const user = (content) => [{ role: "user", content }];
const said = (text, more = {}, options = {}) =>
  client.chat.completions.create({ model: "chatter", messages: user(text), ...more }, options);
const echoed = async (more) => JSON.parse((await said("misbehave: echo", more)).choices[0].message.content);
const schema = { type: "object", properties: { city: { type: "string" } } };
const tool = { type: "function", function: { name: "weather", parameters: schema } };
async function all(stream) { const found = []; for await (const part of stream) found.push(part); return found; }
async function refused(status, call) {
  try { await call(); } catch (error) { assert.equal(error.status, status, String(error)); return error; }
  assert.fail(`not refused with ${status}`);
}
async function ended(get, open) {
  for (const until = Date.now() + 60_000; ; await new Promise((r) => setTimeout(r, 100))) {
    const told = await get();
    if (!open.includes(told.status)) return told;
    assert.ok(Date.now() < until, told.status);
  }
}
async function recover() { // both sides answer well again, so that their breakers stay closed
  await new Promise((r) => setTimeout(r, 1100));
  for (const sensitivity of ["internal", "confidential"])
    await said("Hello?", {}, { headers: { "X-Switchyard-Sensitivity": sensitivity } });
}
const file = (text) => new File([text], "a.jsonl");

const checks = {
  chat: {
    plain: async () => {
      const answer = await said("Hello?");
      assert.equal(answer.choices[0].message.content, "All is well.");
      assert.equal(answer.model, "chatter");
    },
    stream: async () => {
      const chunks = await all(await said("Hello?", { stream: true }));
      assert.equal(chunks.map((c) => c.choices[0].delta.content ?? "").join(""), "All is well.");
    },
    "stream with usage": async () => {
      const chunks = await all(await said("Hello?", { stream: true, stream_options: { include_usage: true } }));
      assert.equal(chunks.at(-1).usage.completion_tokens, 4);
    },
    tools: async () => {
      const answer = await said("misbehave: tool", { tools: [tool] });
      assert.equal(answer.choices[0].message.tool_calls[0].function.arguments, '{"city": "Oslo"}');
    },
    "json schema": async () => {
      const form = { type: "json_schema", json_schema: { name: "place", schema } };
      assert.deepEqual(JSON.parse((await said("?", { response_format: form })).choices[0].message.content), { city: "Oslo" });
    },
    "several choices and logprobs": async () => {
      const answer = await said("Hello?", { n: 3, logprobs: true });
      assert.equal(answer.choices.length, 3);
      assert.equal(answer.choices[0].logprobs.content.length, 4);
    },
    "stop, seed and unknown fields pass": async () => {
      const sent = await echoed({ stop: ["END"], seed: 7, top_k: 3 });
      assert.deepEqual([sent.stop, sent.seed, sent.top_k], [["END"], 7, 3]);
    },
  },
  completions: {
    "text completion": async () => {
      assert.equal((await client.completions.create({ model: "chatter", prompt: "Say" })).choices[0].text, "All is well.");
    },
  },
  embeddings: {
    "as the client asks": async () => {
      const answer = await client.embeddings.create({ model: "vectors", input: ["abc"] });
      assert.deepEqual(Array.from(answer.data[0].embedding), [1, 3, 0.5]);
    },
    floats: async () => {
      const answer = await client.embeddings.create({ model: "auto", input: "abc", encoding_format: "float" });
      assert.deepEqual(answer.data[0].embedding, [1, 3, 0.5]);
    },
  },
  responses: {
    create: async () => {
      assert.equal((await client.responses.create({ model: "chatter", input: "Hello?" })).output_text, "All is well.");
    },
    "typed events": async () => {
      const found = await all(await client.responses.create({ model: "chatter", input: "Hello?", stream: true }));
      assert.equal(found[0].type, "response.created");
      assert.equal(found.at(-1).type, "response.completed");
      assert.deepEqual(found.map((e) => e.sequence_number), found.map((_, i) => i));
    },
    "kept, gone on from and deleted": async () => {
      const made = await client.responses.create({ model: "chatter", input: "Hello?" });
      const next = await client.responses.create({ model: "chatter", input: "misbehave: echo", previous_response_id: made.id });
      assert.equal(JSON.parse(next.output_text).messages.length, 3);
      assert.equal((await client.responses.retrieve(made.id)).output_text, "All is well.");
      await client.responses.delete(made.id);
      await refused(404, () => client.responses.retrieve(made.id));
    },
    "in the background": async () => {
      const made = await client.responses.create({ model: "chatter", input: "Hello?", background: true });
      const told = await ended(() => client.responses.retrieve(made.id), ["queued", "in_progress"]);
      assert.equal(told.output_text, "All is well.");
    },
  },
  models: {
    "listed and retrieved": async () => {
      const ids = (await all(await client.models.list())).map((m) => m.id);
      assert.ok(ids.includes("chatter") && !ids.includes("contract-clauses"));
    },
  },
  files: {
    "there and back": async () => {
      const row = '{"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": {"model": "vectors", "input": "a"}}\n';
      const made = await client.files.create({ file: file(row), purpose: "batch" });
      assert.equal(await (await client.files.content(made.id)).text(), row);
      assert.equal((await client.files.delete(made.id)).deleted, true);
    },
  },
  batches: {
    "answered line by line": async () => {
      const body = { model: "chatter", messages: user("Hello?") };
      const row = JSON.stringify({ custom_id: "a", method: "POST", url: "/v1/chat/completions", body }) + "\n";
      const input = await client.files.create({ file: file(row), purpose: "batch" });
      const made = await client.batches.create({ input_file_id: input.id, endpoint: "/v1/chat/completions", completion_window: "24h" });
      const told = await ended(() => client.batches.retrieve(made.id), ["validating", "in_progress", "finalizing"]);
      const answer = JSON.parse(await (await client.files.content(told.output_file_id)).text());
      assert.equal(answer.response.body.choices[0].message.content, "All is well.");
    },
  },
  moderations: {
    judged: async () => {
      const answer = await client.moderations.create({ input: ["kind words", "bad words"] });
      assert.deepEqual(answer.results.map((r) => r.flagged), [false, true]);
    },
  },
  fine_tuning: {
    listed: async () => { assert.deepEqual(await all(await client.fineTuning.jobs.list({ limit: 2 })), []); },
  },
  errors: {
    "bad key, unknown model, malformed": async () => {
      const other = new OpenAI({ baseURL: url, apiKey: "sy_live_no", maxRetries: 0 });
      await refused(401, () => other.models.list());
      assert.equal((await refused(404, () => said("x", { model: "nobody" }))).code, "model_not_found");
      assert.equal((await refused(400, () => said("x", { n: 0 }))).param, "n");
    },
  },
  upstream: {
    "broken answers are 502": async () => {
      for (const what of ["html", "garbage", "500", "reset", "redirect"]) {
        await refused(502, () => said(`misbehave: ${what}`));
        await recover();
      }
    },
    "a stream cut off is an error": async () => {
      await assert.rejects(async () => all(await said("misbehave: cut", { stream: true })));
      await recover();
    },
    "bytes split anywhere": async () => {
      const chunks = await all(await said("misbehave: split", { stream: true }));
      assert.equal(chunks.map((c) => c.choices[0]?.delta.content ?? "").join(""), "für alle");
    },
  },
};

const results = [];
for (const [area, group] of Object.entries(checks)) {
  for (const [name, run] of Object.entries(group)) {
    try { await run(); results.push({ area, name, passed: true, detail: "" }); }
    catch (error) { results.push({ area, name, passed: false, detail: String(error).slice(0, 300) }); }
  }
}
console.log(JSON.stringify({ client: `openai-node ${version}`, results }));
