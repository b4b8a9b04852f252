// Maps of user and group ids between the files of an image and this machine (user_namespaces(7)), by which a mount shows other
// owners than the image has.

/** `size` ids from `containerID` on in the container are those from `hostID` on outside. */
export interface IdMapping {
  readonly containerID: number
  readonly hostID: number
  readonly size: number
}

/** JSON-safe. */
export interface IdMaps {
  readonly uids: readonly IdMapping[]
  readonly gids: readonly IdMapping[]
}

/** Gives what an id of the container is outside; undefined where it is nobody. */
export function hostIdOf(id: number, mappings: readonly IdMapping[]): number | undefined {
  const mapping = mappings.find(
    ({ containerID, size }) => id >= containerID && id < containerID + size,
  )
  return mapping === undefined ? undefined : mapping.hostID + id - mapping.containerID
}

/** Gives a map in the form of /proc/PID/uid_map. */
export function formatIdMap(mappings: readonly IdMapping[]): string {
  return mappings
    .map(({ containerID, hostID, size }) => `${containerID} ${hostID} ${size}\n`)
    .join('')
}
