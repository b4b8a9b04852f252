/** A profile as containers-common writes it. */
export interface SeccompProfile {
  readonly defaultAction: string
}
