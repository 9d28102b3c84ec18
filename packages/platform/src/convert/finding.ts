/** What a conversion could not carry over, or carried over otherwise than it stood there. */

export interface Finding {
  /**
   * `error`: what was converted will not work, or is not what was meant, until somebody acts. `warning`: something is left out.
   * `note`: something is another way than before.
   */
  severity: "error" | "warning" | "note";
  /** Where in the input's structure, such as `services.web.ports`. */
  key: string;
  /** `file:line:column`. */
  at: string;
  message: string;
  /** What to do, as an imperative sentence. */
  fix?: string;
}

const order = { error: 0, warning: 1, note: 2 };

/** The worst first, of those as they stand in the input; each once, however many services it is about. */
export function sortFindings(findings: Finding[]): Finding[] {
  const unique = new Map(findings.map((finding) => [JSON.stringify(finding), finding]));
  return [...unique.values()].sort((a, b) => order[a.severity] - order[b.severity]);
}
