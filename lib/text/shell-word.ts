/**
 * Returns a text as one word of a shell's command line, in quotes where it needs them (POSIX,
 * 2.2.2).
 */
export function quoteShellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
