/* Ticks of an axis whose steps have dates: at the starts of hours, days, months or years. */
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const dayText = (t) => `${t.getUTCDate()} ${MONTHS[t.getUTCMonth()]}`;
const clockText = (t) => `${String(t.getUTCHours()).padStart(2, "0")}:${String(t.getUTCMinutes()).padStart(2, "0")}`;
const dayOf = (t) => Math.floor(t.getTime() / 864e5);
const monthOf = (t) => t.getUTCFullYear() * 12 + t.getUTCMonth();
const UNITS = [
  ...[1, 5, 15, 30].map((n) => [(t) => Math.floor(t.getTime() / (6e4 * n)), clockText]),
  ...[1, 3, 6, 12].map((n) => [(t) => Math.floor(t.getTime() / (36e5 * n)), (t) => (t.getUTCHours() ? clockText(t) : dayText(t))]),
  ...[1, 2, 7, 14].map((n) => [(t) => Math.floor((dayOf(t) + 3) / n), dayText]), // weeks begin on Monday
  ...[1, 3, 6].map((n) => [(t) => Math.floor(monthOf(t) / n), (t) => (t.getUTCMonth() ? MONTHS[t.getUTCMonth()] : String(t.getUTCFullYear()))]),
  ...[1, 2, 5, 10, 25].map((n) => [(t) => Math.floor(t.getUTCFullYear() / n), (t) => String(t.getUTCFullYear())]),
];
const dateOf = (text) => new Date(text.includes("T") ? `${text}Z` : text);
const momentText = (text) => text.replace("T", " ").replace(/:00$/, "");

/* [step, text] of at most `count` ticks; the first time belongs to step `first`. */
function dateTicks(times, first, count) {
  const dates = times.map(dateOf);
  for (const [unit, text] of UNITS) {
    const ticks = [];
    dates.forEach((date, i) => { if (i && unit(date) !== unit(dates[i - 1])) ticks.push([first + i, text(date)]); });
    if (ticks.length <= count) return ticks.length ? ticks : [[first, momentText(times[0])]];
  }
  return [[first, momentText(times[0])]];
}
