// The words for the chart's buckets (overview/buckets.ts), in several readers' zones.
import assert from "node:assert/strict";
import { test } from "node:test";
import { bucketSpan, bucketStart } from "../../src/dashboard/overview/buckets.ts";

const [MINUTE, HOUR, DAY] = [60_000, 3_600_000, 86_400_000];
/** Intl writes with spaces that do not break. */
const plain = (text) => text.replace(/[\u00a0\u202f\u2009]/g, " ");

function within(zone, run) {
  const before = process.env.TZ;
  process.env.TZ = zone;
  try {
    run({ start: (at, ms) => plain(bucketStart(at, ms)), span: (at, ms) => plain(bucketSpan(at, ms)) });
  } finally {
    process.env.TZ = before;
    if (before === undefined) delete process.env.TZ;
  }
}

test("a day of UTC is a date where the reader's days are the same", () => {
  within("UTC", ({ start, span }) => {
    assert.equal(start("2026-11-27T00:00:00Z", DAY), "Nov 27");
    assert.equal(span("2026-11-27T00:00:00Z", DAY), "Nov 27");
  });
});

test("elsewhere it is told from when to when it is", () => {
  within("Asia/Tokyo", ({ start, span }) => {
    assert.equal(start("2026-11-27T00:00:00Z", DAY), "Nov 27, 09:00 AM");
    assert.equal(span("2026-11-27T00:00:00Z", DAY), "Nov 27, 09:00 AM – Nov 28, 09:00 AM");
  });
  within("America/New_York", ({ span }) => {
    assert.equal(span("2026-11-27T00:00:00Z", DAY), "Nov 26, 07:00 PM – Nov 27, 07:00 PM");
    // The clocks are put back in this one.
    assert.equal(span("2026-11-01T00:00:00Z", DAY), "Oct 31, 08:00 PM – Nov 1, 07:00 PM");
  });
});

test("hours and minutes are those of the reader", () => {
  within("Asia/Kolkata", ({ start, span }) => {
    assert.equal(start("2026-11-27T20:00:00Z", HOUR), "Sat 01:30 AM");
    assert.equal(span("2026-11-27T20:00:00Z", HOUR), "Sat 01:30 AM – 02:30 AM");
    assert.equal(span("2026-11-27T20:05:00Z", MINUTE), "Sat 01:35 AM");
  });
});
