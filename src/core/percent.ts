/** A share from 0 to 1 in percent, with a decimal where it has one: 0.5 is `50 %`, 1/22 is `4.5 %`. */
export const percent = (share: number): string => `${Math.round(share * 1000) / 10} %`;
